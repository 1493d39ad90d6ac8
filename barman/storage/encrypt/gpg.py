"""Encrypting and decrypting with GnuPG, for WAL files and tarballs of backups. Hot-safe.

Content goes through pipes: what is secret is never in a file, but where a reader asks for one (Decryption.open).
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO, cast

from barman.errors import CommandError, Encrypted, Permanent
from barman.storage.encrypt.piped import piped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# No network: a key that is not there is an error, and not asked for elsewhere.
_GPG = ["gpg", "--batch", "--no-tty", "--status-fd", "2", "--no-auto-key-locate"]
_STATUS = "[GNUPG:] "
_PASSPHRASE_LIMIT_S = 60.0


def encrypt_stream(source: BinaryIO, target: BinaryIO, key_id: str) -> None:
    """Encrypt all that source still holds into target, for the owner of key_id; both must be real files.

    To stop it, let target refuse to be written: it is asked at least every second. CommandError when gpg is not
    installed, or does not know the key.
    """
    argv = [*_GPG, "--quiet", "--trust-model", "always", "--compress-algo", "none", "--recipient", key_id, "--encrypt"]
    with _explaining(f"cannot encrypt for {key_id}", "Import the public key into the key ring of barman's user."):
        _run(argv, source, target)


def encrypt_produced(produce: Callable[[BinaryIO], None], target: BinaryIO, key_id: str) -> None:
    """Encrypt what produce writes to the file it is given; otherwise as encrypt_stream."""
    with piped(produce) as source:
        encrypt_stream(source, target, key_id)


def require_can_encrypt(key_id: str) -> None:
    """Raise CommandError unless something can be encrypted for the owner of key_id."""
    with open(os.devnull, "rb") as source, open(os.devnull, "wb") as target:
        encrypt_stream(source, target, key_id)


class Decryption:
    """What decrypts the messages to us. Its passphrase is asked for once."""

    def __init__(self, passphrase_command: str) -> None:
        """passphrase_command: shell text that prints the passphrase, at most one line."""
        self._command = passphrase_command
        self._passphrase: bytes | None = None

    def open(self, file: BinaryIO) -> BinaryIO:
        """Return what file, a real file at its start, holds decrypted, as a real file without a name.

        Permanent if the file is damaged; Encrypted if it is for another key, the passphrase is wrong or cannot be told,
        or gpg is not installed. file stays open.
        """
        import tempfile

        decrypted = tempfile.TemporaryFile()  # noqa: SIM115  it is what we return
        try:
            self._decrypt(file, cast("BinaryIO", decrypted))
            decrypted.seek(0)
        except BaseException:
            decrypted.close()
            raise
        return cast("BinaryIO", decrypted)

    @contextlib.contextmanager
    def reading(self, file: BinaryIO) -> Iterator[BinaryIO]:
        """Give a reader of the same, without a file; errors as of open come up at the end of the block."""
        with piped(lambda target: self._decrypt(file, target)) as reader:
            yield reader

    def _decrypt(self, source: BinaryIO, target: BinaryIO) -> None:
        name = getattr(source, "name", "a file")
        hint = "See encryption_passphrase_command, and gpg --list-secret-keys."
        try:
            with _explaining(f"cannot decrypt {name}", hint), _readable(self._ask()) as descriptor:
                # Not quiet: it would not tell that the passphrase is wrong.
                words = ["--pinentry-mode", "loopback", "--passphrase-fd", str(descriptor), "--decrypt"]
                _run([*_GPG, *words], source, target, pass_fds=(descriptor,))
        except CommandError as error:
            if _is_about_content(error):
                raise Permanent(f"{name}: the encrypted data are damaged") from error
            raise Encrypted(error.message, hint=error.hint) from error

    def _ask(self) -> bytes:
        if self._passphrase is None:
            from barman.host.runner import run_shell

            answer = run_shell(self._command, timeout_s=_PASSPHRASE_LIMIT_S)
            self._passphrase = os.fsencode(answer.stdout.partition("\n")[0])
        return self._passphrase


def _run(argv: list[str], source: BinaryIO, target: BinaryIO, *, pass_fds: tuple[int, ...] = ()) -> None:
    from barman.host.runner import environment, run

    def ask() -> None:
        # The program writes past target; whoever wants it to stop refuses this.
        target.write(b"")

    run(argv, timeout_s=None, env=environment(LC_ALL="C"), stdin=source, stdout=target, on_tick=ask, pass_fds=pass_fds)


@contextlib.contextmanager
def _readable(secret: bytes) -> Iterator[int]:
    """Give a descriptor that secret can be read from."""
    read_end, write_end = os.pipe()
    try:
        try:
            # At most a line: it fits the pipe.
            os.write(write_end, secret + b"\n")
        finally:
            os.close(write_end)
        yield read_end
    finally:
        os.close(read_end)


@contextlib.contextmanager
def _explaining(what: str, hint: str | None = None) -> Iterator[None]:
    """Say of a failed program what it was to do, and why it could not, in one line."""
    try:
        yield
    except CommandError as error:
        if error.status is None and error.__cause__ is not None:
            raise CommandError(
                f"{what}: {error.message}", argv=error.argv, hint="Install GnuPG (apt-get install gnupg)."
            ) from error
        said = [line for line in error.stderr.splitlines() if line and not line.startswith(_STATUS)]
        # The last line draws the conclusion; with a wrong passphrase it says that there is no secret key.
        telling = next((line for line in said if "passphrase" in line), said[-1] if said else error.message)
        reason = telling.removeprefix("gpg: ").removeprefix("[stdin]: ")
        raise CommandError(
            f"{what}: {reason}", argv=error.argv, status=error.status, stderr=error.stderr, hint=hint
        ) from error


def _is_about_content(error: CommandError) -> bool:
    """Whether gpg had the key to a message, or saw no message: then it is the message that is wrong."""
    if _STATUS not in error.stderr:
        # Some other program, or one that did not get so far.
        return False
    said = {line.removeprefix(_STATUS).partition(" ")[0] for line in error.stderr.splitlines()}
    return "DECRYPTION_KEY" in said or "ENC_TO" not in said
