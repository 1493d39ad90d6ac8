"""Key rings for GnuPG, with one key pair that is worth nothing."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import environment, run
from tests.support.users import give

if TYPE_CHECKING:
    from pathlib import Path

needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")

KEY_ID = "tests@barman.invalid"
PASSPHRASE_COMMAND = "echo secret"
ENCRYPTED = {"encryption": "gpg", "encryption_key_id": KEY_ID}
DECRYPTED = {"encryption_passphrase_command": PASSPHRASE_COMMAND}


class KeyRing:
    """The key ring of whoever has home as their home directory. has_secret: whether it can decrypt, too."""

    def __init__(self, home: Path, *, has_secret: bool = True) -> None:
        self.path = home / ".gnupg"
        self._home = home
        self.path.mkdir()
        # Without it the agent measures for seconds how often it should hash a passphrase.
        (self.path / "gpg-agent.conf").write_text("s2k-count 65536\n")
        give(self.path / "gpg-agent.conf")
        give(self.path, 0o700)
        keys = _SECRET_KEY if has_secret else _PUBLIC_KEY
        words = ["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "secret", "--import"]
        run(words, env=environment(home), cwd=home, stdin=keys, check=True)

    def forget(self) -> None:
        """End the agent, which keeps passphrases."""
        run(["gpgconf", "--kill", "gpg-agent"], env=environment(self._home), cwd=self._home)


def decrypt(path: Path, ring: KeyRing) -> bytes:
    """Return what the file holds decrypted, by gpg itself, as root or whoever runs the tests."""
    words = [
        "gpg",
        "--homedir",
        str(ring.path),
        "--batch",
        "--quiet",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "secret",
    ]
    return subprocess.run([*words, "--decrypt", str(path)], check=True, capture_output=True).stdout


_PUBLIC_KEY = """
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawGKyxYJKwYBBAHaRw8BAQdAWTawrtgeIReKA0gpi4Ftw0eFYu0/l0XVZix0
+uerwQ20I0Jhcm1hbiB0ZXN0cyA8dGVzdHNAYmFybWFuLmludmFsaWQ+iJAEExYI
ADgWIQS9/EHOPdS+GqEqdOWfmsSMH+OOmAUCawGKywIbAwULCQgHAgYVCgkICwIE
FgIDAQIeAQIXgAAKCRCfmsSMH+OOmCCwAQDaEgKk71tVBRlu1rC27e3c44RU41La
RTlfMAHg+1cEXgD8DJQw64YDscCzhIBG/vMyIQJ0dug5ckTUfJxLMzX4NQ64OARr
AYrLEgorBgEEAZdVAQUBAQdANtzZGJ3Y/J09YQXg5/4JBGc+/xAPXKy57/T5QmKR
VxMDAQgHiHgEGBYIACAWIQS9/EHOPdS+GqEqdOWfmsSMH+OOmAUCawGKywIbDAAK
CRCfmsSMH+OOmM8cAQDRtKBA1MrkzZdaYsIVXUqEXOdqArQI0L/kWMHhcg7mCgEA
9pEHjYRLNBT/H+kF6r1Rwuvh/ACr74TuWG9v4ZHfkA4=
=zLGc
-----END PGP PUBLIC KEY BLOCK-----
"""

_SECRET_KEY = """
-----BEGIN PGP PRIVATE KEY BLOCK-----

lIYEawGKyxYJKwYBBAHaRw8BAQdAWTawrtgeIReKA0gpi4Ftw0eFYu0/l0XVZix0
+uerwQ3+BwMCpdyXQu2vAqD/G1dCCKtDRoGDRxwC38TJuoO2kVPaX8PRlI2RsfpA
RwcCsmV3smwK2ICNJCSfP3ShVnItXF2hsfqMdgBaCfDmH0xARHKMebQjQmFybWFu
IHRlc3RzIDx0ZXN0c0BiYXJtYW4uaW52YWxpZD6IkAQTFggAOBYhBL38Qc491L4a
oSp05Z+axIwf446YBQJrAYrLAhsDBQsJCAcCBhUKCQgLAgQWAgMBAh4BAheAAAoJ
EJ+axIwf446YILABANoSAqTvW1UFGW7WsLbt7dzjhFTjUtpFOV8wAeD7VwReAPwM
lDDrhgOxwLOEgEb+8zIhAnR26DlyRNR8nEszNfg1DpyLBGsBissSCisGAQQBl1UB
BQEBB0A23NkYndj8nT1hBeDn/gkEZz7/EA9crLnv9PlCYpFXEwMBCAf+BwMCp5o6
BCvGcr7/BQ437djYSTovGlI9iK+cJdjSWxaYUqQnj+85Xo8/vgXMEZPLFhQHEagD
6T8zYctER9dT+mwPoC0r5uQewuaEqyDWfFQIBYh4BBgWCAAgFiEEvfxBzj3Uvhqh
KnTln5rEjB/jjpgFAmsBissCGwwACgkQn5rEjB/jjpjPHAEA0bSgQNTK5M2XWmLC
FV1KhFznagK0CNC/5FjB4XIO5goBAPaRB42ESzQU/x/pBeq9UcLr4fwAq++E7lhv
b+GR35AO
=EAZ2
-----END PGP PRIVATE KEY BLOCK-----
"""
