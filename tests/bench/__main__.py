"""python -m tests.bench NAME...: measure, beside Barman 3.19.1, and print tables. Without a name: everything."""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import tempfile
from functools import partial
from typing import TYPE_CHECKING

from tests.bench import (
    archive_wal,
    catalogue,
    copying,
    cron,
    housekeeping,
    passive,
    restoring,
    sharing,
    start_up,
    wal_transfer,
)
from tests.bench.subjects import subjects
from tests.support.places import PROJECT, run_directory
from tests.support.processes import end_processes_of
from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BENCHMARKS: Mapping[str, Callable[..., None]] = {
    "archive-wal": archive_wal.main,
    "catalogue": catalogue.main,
    "copying": copying.main,
    "cron": cron.main,
    "housekeeping": housekeeping.main,
    "passive": passive.main,
    "restoring": restoring.main,
    "sharing": sharing.main,
    "start-up": start_up.main,
    "wal-transfer": wal_transfer.main,
}


def main() -> None:
    """Run the benchmarks named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_BENCHMARKS)}")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each case (3)")
    parser.add_argument("--without-reference", action="store_true", help="measure this implementation only")
    parser.add_argument(
        "--scale",
        type=float,
        default=1,
        help="copying, passive, restoring, sharing, wal-transfer: this part of the data only (1)",
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="archive-wal, copying, restoring, sharing, wal-transfer: only cases with this in their name",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(_BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    # a real disk, unless told otherwise: memory has no fsync worth measuring
    os.environ.setdefault("BARMAN_TEST_SCRATCH", tempfile.gettempdir())
    # as an installation has done; the user it runs as cannot write it here
    compileall.compile_dir(PROJECT / "barman", quiet=1)
    programs = subjects(without_reference=arguments.without_reference)
    directory = run_directory()
    try:
        for name in arguments.names or _BENCHMARKS:
            scratch = directory / name
            scratch.mkdir()
            give(scratch)
            benchmark = _BENCHMARKS[name]
            if name == "archive-wal":
                benchmark = partial(archive_wal.main, only=arguments.only)
            if name == "copying":
                benchmark = partial(copying.main, scale=arguments.scale, only=arguments.only)
            if name == "passive":
                benchmark = partial(passive.main, scale=arguments.scale)
            if name == "restoring":
                benchmark = partial(restoring.main, scale=arguments.scale, only=arguments.only)
            if name == "sharing":
                benchmark = partial(sharing.main, scale=arguments.scale, only=arguments.only)
            if name == "wal-transfer":
                benchmark = partial(wal_transfer.main, scale=arguments.scale, only=arguments.only)
            benchmark(programs, scratch, arguments.rounds)
            shutil.rmtree(scratch)
    finally:
        end_processes_of(directory)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
