"""What is done on a host one is logged in to: running programs, reading small files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from barman.errors import CommandError, Permanent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.host.runner import Completed

# A command that is to take longer says so.
QUICK_S = 60.0

_PASSED_BY = 66
_READ = f'[ -f "$1" ] || exit {_PASSED_BY}; exec cat "$1"'


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

    def require_success(self, done: Completed, argv: Sequence[str]) -> None:
        """Raise CommandError, naming host, program and reason, unless it ended with 0."""
        if done.status != 0:
            message = f"{self.name}: '{argv[0]}' failed: {last_line(done)}"
            raise CommandError(message, argv=argv, status=done.status, stderr=done.stderr)


def last_line(done: Completed) -> str:
    """Return what a program said last on its standard error, or how it ended."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {done.status}"
