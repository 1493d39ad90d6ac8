"""Sorting an xlog.db of which very much is out of order, in little memory: runs in a file, merged into another."""

from __future__ import annotations

import contextlib
import heapq
import os
import tempfile
from typing import TYPE_CHECKING, BinaryIO, cast

from barman.catalog.xlog_lines import columns_of, parse_chunk, sort_columns
from barman.catalog.xlog_reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.catalog.xlog_lines import Row

_RUN_BYTES = 4 << 20


@contextlib.contextmanager
def sorted_reading(reading: Reading) -> Iterator[Reading]:
    """Give a reading of the same lines in name order, each name once; of several with one name the last counts.

    OSError if the temporary files, each as large as the ledger, cannot be written.
    """
    with tempfile.TemporaryFile(buffering=0) as file, tempfile.TemporaryFile() as merged:
        runs = _write_runs(reading, cast("BinaryIO", file))
        last = b""
        for name, _, row in heapq.merge(*(_read_run(cast("BinaryIO", file), *run) for run in runs)):
            if name != last:
                merged.write(_line(row))
                last = name
        merged.flush()
        in_order = Reading(cast("BinaryIO", merged))
        in_order.broken, in_order.is_mixed = reading.broken, True
        yield in_order


def _write_runs(reading: Reading, file: BinaryIO) -> list[tuple[int, int, int]]:
    """Write the lines, a piece of the ledger after the other, each in order; return serial, start and end of each."""
    runs: list[tuple[int, int, int]] = []
    rows: list[Row] = []
    size = start = 0
    for chunk in reading.chunks():
        rows.extend(parse_chunk(chunk).rows())
        size += len(chunk)
        if size >= _RUN_BYTES:
            start = _write_run(rows, file, runs, start)
            rows, size = [], 0
    _write_run(rows, file, runs, start)
    return runs


def _write_run(rows: list[Row], file: BinaryIO, runs: list[tuple[int, int, int]], start: int) -> int:
    data = b"".join(map(_line, sort_columns(columns_of(rows)).rows()))
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    runs.append((len(runs), start, start + len(data)))
    return start + len(data)


def _read_run(file: BinaryIO, serial: int, start: int, end: int) -> Iterator[tuple[bytes, int, Row]]:
    """Yield the rows of a run; of one name that of the latest run sorts first."""
    with open(os.dup(file.fileno()), "rb", buffering=0) as same:
        run = Reading(same, start=start, end=end)
        for chunk in run.chunks():
            for row in parse_chunk(chunk).rows():
                yield row[0], -serial, row


def _line(row: Row) -> bytes:
    return b"\t".join(row) + b"\n"
