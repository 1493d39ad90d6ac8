"""Looking into a data directory before anything is copied: whose it is, and what goes on there."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from barman.backup.source_tree import CONTROL_FILE, LABEL_FILE, VERSION_FILE
from barman.errors import CommandError
from barman.host import rsync
from barman.host.rsync_watch import Silence, run_rsync
from barman.host.scratch import scratch_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.host.ssh import Logins

_QUICK_S = 60.0


class Sight(NamedTuple):
    """What a data directory says of itself.

    born: when it was made, in whole seconds; a copy of it was mostly made at another time. label: its backup_label;
    None if there is none, or nobody asked for it.
    """

    system_identifier: str
    born: int
    label: str | None


def look(pgdata: str, logins: Logins | None, *, host: str, env: Mapping[str, str], label: bool) -> Sight:
    """Look into the data directory there; logins: None for this host. CommandError, which names host, if that fails.

    label: whether to look at backup_label.
    """
    directory = pgdata.rstrip("/")
    try:
        if logins is None:
            return _read(directory)
        with scratch_directory("barman-control-") as scratch:
            directory = os.fspath(scratch)
            names = [CONTROL_FILE, VERSION_FILE, *([LABEL_FILE] if label else [])]
            _fetch(rsync.Source(pgdata, logins.lanes()[0]), names, directory, host=host, env=env)
            return _read(directory)
    except OSError as error:
        path = str(error.filename).replace(directory, pgdata.rstrip("/"), 1)
        raise CommandError(f"cannot copy from {host}: {path}: {error.strerror}") from error


def _fetch(source: rsync.Source, names: list[str], scratch: str, *, host: str, env: Mapping[str, str]) -> None:
    argv = rsync.copy_argv(source, scratch, scratch=scratch)
    complaints = rsync.Complaints()
    done = run_rsync(
        argv,
        names,
        env={**env, "LC_ALL": "C"},
        on_line=lambda line: None if rsync.parse_copied(line) is not None else complaints.take(line),
        on_tick=[Silence(_QUICK_S, what=f"cannot copy from {host}").tick],
    )
    if not complaints.is_harmless(done.status):
        reason, hint = complaints.reason(done.status), complaints.hint(done.status)
        raise CommandError(f"cannot copy from {host}: {reason}", argv=argv, hint=hint)


def _read(directory: str) -> Sight:
    # A control file begins with the identifier. Source: PostgreSQL, catalog/pg_control.h.
    with open(os.path.join(directory, CONTROL_FILE), "rb") as file:
        identifier = str(int.from_bytes(file.read(8), sys.byteorder))
    born = int(os.stat(os.path.join(directory, VERSION_FILE)).st_mtime)
    try:
        with open(os.path.join(directory, LABEL_FILE), "rb") as file:
            return Sight(identifier, born, os.fsdecode(file.read()))
    except FileNotFoundError:
        return Sight(identifier, born, None)
