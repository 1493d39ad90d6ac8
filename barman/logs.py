"""Where log records go."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Messages the person at the terminal has already been shown are logged under this name.
SHOWN = "barman.output"


class _NotShown(logging.Filter):
    """Lets records pass that the terminal has not seen yet."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name != SHOWN


class _LogFile(logging.handlers.WatchedFileHandler):
    """A log file that says once, in one line, that it cannot be written; the work goes on."""

    _has_complained = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name logging calls
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._has_complained:
            self._has_complained = True
            with contextlib.suppress(OSError):
                sys.stderr.write(f"WARNING: cannot write the log file {self.baseFilename}: {error.strerror}\n")


def open_log(path: Path | None, *, level: int | str, line_format: str, verbose: bool = False) -> str | None:
    """Send all records from level on to the file, re-opened when it is rotated; returns a complaint or None.

    Without a file, or when it cannot be written, standard error gets what is not shown there anyway: warnings and
    worse, with verbose everything from level on. Replaces an earlier log of this process.
    """
    complaint = None
    handler: logging.Handler | None = None
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handler = _LogFile(os.fspath(path), encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            complaint = f"cannot write the log file {path}: {error.strerror}; logging to standard error"
    if handler is None:
        handler = logging.StreamHandler(sys.stderr)
        handler.addFilter(_NotShown())
        handler.setLevel(logging.NOTSET if verbose else logging.WARNING)
    handler.setFormatter(logging.Formatter(line_format))
    close_log()
    # Of the libraries only what is worth a warning; at DEBUG some tell of every lock they touch.
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("barman").setLevel(level)
    logging.captureWarnings(capture=True)
    handler.set_name("barman")
    return complaint


def close_log() -> None:
    """Flush and detach what open_log attached; from then on every record counts again."""
    logging.getLogger("barman").setLevel(logging.NOTSET)
    root = logging.getLogger()
    for handler in [found for found in root.handlers if found.get_name() == "barman"]:
        root.removeHandler(handler)
        handler.close()
