"""Output for people: results on standard output, trouble on standard error."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Final, Literal, TextIO

from barman.cli.render.output import Colour, Output
from barman.errors import StorageError
from barman.postgres.conninfo import mask_secrets
from barman.progress import LogBar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, TaskID

    from barman.progress import Bar

_COLOURS: Final = {"red": "31", "green": "32", "yellow": "33"}
_KIND_COLOURS: Final[dict[str, Colour]] = {"WARNING": "yellow", "ERROR": "red"}


class ConsoleOutput(Output):
    """Lines for a terminal or a pipe; one newline per message, passwords blackened."""

    def __init__(
        self, *, quiet: bool = False, debug: bool = False, colour: Literal["never", "always", "auto"] = "auto"
    ) -> None:
        """quiet: only warnings and errors. debug: debug messages too. auto colour: both streams are terminals."""
        super().__init__()
        self._quiet = quiet
        self._debug = debug
        self._out, self._err = _encoded(sys.stdout), _encoded(sys.stderr)
        self._coloured = colour == "always" or (colour == "auto" and self._out.isatty() and self._err.isatty())
        self._progress: Progress | None = None

    def paint(self, text: str, colour: Colour) -> str:
        """text in that colour, where colours are wanted."""
        return f"\033[{_COLOURS[colour]}m{text}\033[0m" if self._coloured else text

    def write_line(self, text: str) -> None:
        """A row of a listing."""
        self.show(text)

    def show(self, text: str) -> None:
        """A line for people only."""
        if not self._quiet:
            self._write(self._out, text)

    def result(self, key: str, value: object) -> None:
        """Nothing: people read what show() gets."""

    def close(self) -> None:
        """Flush."""
        self._out.flush()

    @contextlib.contextmanager
    def bar(self, label: str, *, total: int | None, unit: Literal["bytes", "segments", "files"]) -> Iterator[Bar]:
        """A bar on standard error when that is a terminal, gone when the block ends; else the log is told."""
        if self._quiet or self._progress is not None or not self._err.isatty():
            yield LogBar(label, total, unit)
            return
        from barman.cli.render.bars import make_progress

        self._progress = make_progress(self._err, unit)
        try:
            with self._progress:
                yield _RichBar(self._progress, self._progress.add_task(label, total=total))
        finally:
            self._progress = None

    def _message(
        self, kind: Literal["INFO", "WARNING", "ERROR", "DEBUG"], message: str, hint: str | None = None
    ) -> None:
        if kind == "INFO":
            with _surviving(self._out):
                self.show(message)
                self._out.flush()
            return
        if kind == "DEBUG" and not self._debug:
            return
        text = f"{kind}: {message}"
        # What stdout cannot take is found out again when all is said.
        with contextlib.suppress(OSError):
            self._out.flush()
        with _surviving(self._err):
            self._write(self._err, self.paint(text, _KIND_COLOURS[kind]) if kind in _KIND_COLOURS else text)
            if hint:
                self._write(self._err, f"HINT: {hint}")
            self._err.flush()

    def _write(self, stream: TextIO, text: str) -> None:
        # A bar is taken off the screen for the time of the line, so that neither smears the other.
        if self._progress is not None:
            self._progress.stop()
        try:
            stream.write(mask_secrets(text) + "\n")
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StorageError(f"cannot write to standard output: {error.strerror}") from error
        if self._progress is not None:
            stream.flush()
            self._progress.start()


@contextlib.contextmanager
def _surviving(stream: TextIO) -> Iterator[None]:
    """Go on with the work, and say no more, when nobody listens any longer; the log has it all."""
    try:
        yield
    except BrokenPipeError:
        silence(stream)


def silence(stream: TextIO) -> None:
    """Let what is written from now on, and what is buffered still, go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class _RichBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, amount: int) -> None:
        self._progress.advance(self._task, amount)

    def set_total(self, total: int | None) -> None:
        self._progress.update(self._task, total=total)


def _encoded(stream: TextIO) -> TextIO:
    """The stream set to UTF-8 that passes undecodable file names through, whatever the locale says."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="surrogateescape")
    return stream
