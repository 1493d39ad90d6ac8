"""Recognising encrypted files by their first bytes. Pure and hot-safe."""

from __future__ import annotations

# Where the version of the first packet is: after its tag and a length of one, two or four bytes.
_OLD_FORMATS = {0x84: 2, 0x85: 3, 0x86: 5}
_NEW_FORMAT = 0xC1
_TWO_BYTE_LENGTHS = range(192, 224)


def is_openpgp(first_bytes: bytes) -> bool:
    """Whether a file begins with a session key encrypted for a public key. Source: RFC 4880, sections 4.2 and 5.1."""
    if len(first_bytes) < 6:
        return False
    version_at = _OLD_FORMATS.get(first_bytes[0])
    if first_bytes[0] == _NEW_FORMAT:
        version_at = 3 if first_bytes[1] in _TWO_BYTE_LENGTHS else 2
    return version_at is not None and first_bytes[version_at] == 3
