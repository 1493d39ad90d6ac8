"""What is done on a host one is logged in to: running programs, reading small files."""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from barman.errors import CommandError, NotFound, Permanent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from barman.host.runner import Completed

# A command that is to take longer says so.
QUICK_S = 60.0

_PASSED_BY = 66
_READ = f'[ -f "$1" ] || exit {_PASSED_BY}; exec cat "$1"'
# As much as goes through memory several times over without doing harm; it takes a segment of usual size at once.
_PIECE_MIB = 32
_PIECE_LIMIT_S = 600.0
_READ_PIECE = f'[ -f "$1" ] || exit {_PASSED_BY}; exec dd if="$1" bs=1048576 skip="$2" count={_PIECE_MIB}'


class Remote(ABC):
    """A host one is logged in to. name: for messages, mostly user and host."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",  # noqa: A002  as runner.run calls it
        timeout_s: float | None = QUICK_S,
        check: bool = True,
    ) -> Completed:
        """Run a program there, its words as they are, to its end.

        input: for its standard input. CommandError when the connection fails or it takes too long; and, if check, when
        it ends with anything but 0.
        """

    def script(
        self,
        text: str,
        *arguments: str | os.PathLike[str],
        input: bytes = b"",  # noqa: A002
        timeout_s: float | None = QUICK_S,
        check: bool = True,
    ) -> Completed:
        """Run text as a POSIX shell does, whatever the user's own shell is; arguments are its $1, $2 and so on."""
        words = [os.fspath(argument) for argument in arguments]
        return self.run(["sh", "-c", text, "barman", *words], input=input, timeout_s=timeout_s, check=check)

    def read_file(self, path: str | os.PathLike[str]) -> bytes | None:
        """Return the content of a small file; None if there is none."""
        done = self.script(_READ, path, check=False)
        if done.status == _PASSED_BY:
            return None
        if done.status != 0:
            raise Permanent(f"cannot read {os.fspath(path)} on {self.name}: {last_line(done)}")
        return os.fsencode(done.stdout)

    def copy_file(self, path: str | os.PathLike[str], target: BinaryIO) -> None:
        """Write the content of a file of any size into target; NotFound if there is none."""
        for number in itertools.count():
            done = self.script(_READ_PIECE, path, f"{number * _PIECE_MIB}", timeout_s=_PIECE_LIMIT_S, check=False)
            if done.status == _PASSED_BY:
                raise NotFound(f"{os.fspath(path)} is not there on {self.name}")
            if done.status != 0:
                raise Permanent(f"cannot read {os.fspath(path)} on {self.name}: {last_line(done)}")
            piece = os.fsencode(done.stdout)
            target.write(piece)
            if len(piece) < _PIECE_MIB << 20:
                return

    def require_success(self, done: Completed, argv: Sequence[str]) -> None:
        """Raise CommandError, naming host, program and reason, unless it ended with 0."""
        if done.status != 0:
            message = f"{self.name}: '{argv[0]}' failed: {last_line(done)}"
            raise CommandError(message, argv=argv, status=done.status, stderr=done.stderr)


def last_line(done: Completed) -> str:
    """Return what a program said last on its standard error, or how it ended."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {done.status}"
