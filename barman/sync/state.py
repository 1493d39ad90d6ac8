"""What a passive node remembers about its primary, on disk, and what it has itself."""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.identity import read_identity
from barman.catalog.record import Status
from barman.errors import CatalogError, ConfigError
from barman.host.files import make_directories, write_durably
from barman.retention.judge import require_understood, server_policy
from barman.sync.document import Position, parse_answer
from barman.sync.plan import LocalState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from barman.catalog.record import BackupId, BackupRecord
    from barman.retention.policy import Policy
    from barman.server import Server
    from barman.sync.document import PrimaryState

_log = logging.getLogger(__name__)


class Remembered(NamedTuple):
    """What the primary said last, and when we heard it."""

    state: PrimaryState
    heard: datetime


def read_primary_info(server: Server) -> Remembered | None:
    """Return what the primary said last; None if it never did. CatalogError if the file cannot be understood."""
    path = server.paths.primary_info
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        heard = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CatalogError(f"cannot read {path}: {error.strerror}") from error
    try:
        return Remembered(parse_answer(text), heard)
    except CatalogError as error:
        raise CatalogError(
            f"{path}: {error.message}", hint="The next cron, or 'barman sync-info --primary', writes it anew."
        ) from error


def write_primary_info(server: Server, text: str) -> None:
    """Remember the primary's answer, durably."""
    path = server.paths.primary_info
    try:
        make_directories(path.parent)
        write_durably(path, text.encode(errors="surrogateescape"))
    except OSError as error:
        raise CatalogError(f"cannot write {path}: {error.strerror}") from error


def read_position(server: Server) -> Position | None:
    """Return up to where the primary's ledger is here; None if that is not known."""
    try:
        name, _, offset = server.paths.sync_wals_info.read_text(errors="replace").strip().partition("\t")
        return Position(name, int(offset)) if name else None
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        raise CatalogError(f"cannot read {server.paths.sync_wals_info}: {error.strerror}") from error


def write_position(server: Server, position: Position) -> None:
    """Remember up to where the primary's ledger is here, durably."""
    path = server.paths.sync_wals_info
    try:
        write_durably(path, f"{position.name}\t{position.offset}".encode())
    except OSError as error:
        raise CatalogError(f"cannot write {path}: {error.strerror}") from error


def gather_local(server: Server) -> LocalState:
    """Return what is here of a server."""
    records = server.backups.load()
    identity = read_identity(server.paths)
    return LocalState(
        records=records,
        keeps=server.backups.keeps(),
        present=frozenset(one for one in records if server.paths.backup_dir(one).is_dir()),
        position=read_position(server),
        system_id=identity.systemid if identity else None,
        policy=_policy(server),
        minimum_redundancy=server.settings.minimum_redundancy,
        failed_at=dict(_failures(server, records.values())),
    )


def _failures(server: Server, records: Iterable[BackupRecord]) -> Iterator[tuple[BackupId, datetime]]:
    """Yield which backups are FAILED, and since when."""
    for record in records:
        if record.status is Status.FAILED and not record.damage:
            with contextlib.suppress(OSError):
                written = server.paths.record_file(record.backup_id).stat().st_mtime
                yield record.backup_id, datetime.fromtimestamp(written, timezone.utc)


def _policy(server: Server) -> Policy | None:
    try:
        require_understood(server)
        return server_policy(server)
    except ConfigError as error:
        # Retention deletes nothing then, so everything is wanted; check tells.
        _log.warning("server %s: %s", server.name, error.message)
        return None
