"""Progress bars; loads rich, so import it only to draw one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from typing import TextIO


def make_progress(stream: TextIO, unit: Literal["bytes", "segments", "files"]) -> Progress:
    """An idle progress display on stream, which wipes itself when stopped; bytes also show a speed."""
    amounts: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), TextColumn(unit))
    if unit == "bytes":
        amounts = (DownloadColumn(binary_units=True), TransferSpeedColumn())
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *amounts,
        TimeRemainingColumn(),
        console=Console(file=stream),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
