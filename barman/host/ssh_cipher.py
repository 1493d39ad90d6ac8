"""Which cipher ssh is to use where its user has chosen none: with AES in hardware a third more travels. Hot-safe."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# What OpenSSH before version 10 prefers costs nearly twice the processor time, and is no better.
_FAST_CIPHER = "aes128-gcm@openssh.com"
# The first processor's features stand within these; more would take as long as there are processors.
_CPUINFO_BYTES = 4096


def parse_settings(text: str) -> dict[str, str]:
    """Return what `ssh -G` printed, each option's name in lower case; what is said twice is joined by newlines."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, space, value = line.partition(" ")
        if space:
            found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


def cipher_options(chosen: Mapping[str, str], default: Mapping[str, str]) -> tuple[str, ...]:
    """Return options for ssh that put the fast cipher first; none if the user chose, or if it would not be faster.

    chosen, default: what `ssh -G` says, and what it says without any configuration.
    """
    ciphers = chosen.get("ciphers", "").split(",")
    if chosen.get("ciphers") != default.get("ciphers") or _FAST_CIPHER not in ciphers or not _has_aes():
        return ()
    if ciphers[0] == _FAST_CIPHER:
        return ()
    return ("-o", f"Ciphers={','.join(sorted(ciphers, key=lambda cipher: cipher != _FAST_CIPHER))}")


def _has_aes() -> bool:
    """Whether the processor encrypts AES by itself. Source: Linux, /proc/cpuinfo."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return re.search(r"^(?:flags|Features)\s*:.*\baes\b", file.read(_CPUINFO_BYTES), re.MULTILINE) is not None
    except OSError:
        return False
