"""Whether one backup can be the parent of the next. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.catalog.record import BackupRecord, Status
from barman.errors import Refused
from barman.postgres.versions import Feature, supports, version_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.postgres.facts import ServerFacts


def require_parent(parent: BackupRecord, *, has_manifest: bool) -> None:
    """Raise Refused, with the reason, unless an incremental backup can be built on parent.

    has_manifest: whether its backup_manifest, which PostgreSQL needs as input, is there.
    """
    reason = _unfit(parent, has_manifest=has_manifest)
    if reason is not None:
        raise Refused(f"backup {parent.backup_id} cannot be the parent of an incremental backup: {reason}")


def _unfit(parent: BackupRecord, *, has_manifest: bool) -> str | None:
    if parent.doomed:
        return "it is being deleted"
    if parent.status not in (Status.DONE, Status.WAITING_FOR_WALS):
        return f"its status is {parent.status.value}"
    if parent.mode != "postgres":
        return f"it was not taken with backup_method = postgres (mode {parent.mode})"
    if parent.summarize_wal != "on":
        return "summarize_wal was not on when it was taken"
    return None if has_manifest else "its backup_manifest is missing"


def require_server_can(facts: ServerFacts) -> None:
    """Raise Refused unless the server can take incremental backups now."""
    if not supports(facts.version_num, Feature.INCREMENTAL_BACKUP):
        raise Refused(
            f"incremental backups require PostgreSQL 17 or later, and the server is {version_text(facts.version_num)}"
        )
    if facts.summarize_wal != "on":
        raise Refused(
            "incremental backups require summarize_wal = on, and the server has it off",
            hint="Set summarize_wal = on, reload PostgreSQL, and take a full backup.",
        )


def checksum_warning(record: BackupRecord, ancestors: Sequence[BackupRecord]) -> str | None:
    """Say what is wrong with a chain whose members disagree about data checksums; None if nothing is.

    A block that comes from an ancestor without checksums has none, and fails verification in the combined cluster.
    """
    without = [ancestor.backup_id for ancestor in ancestors if ancestor.data_checksums == "off"]
    if record.data_checksums != "on" or not without:
        return None
    return (
        f"backup {record.backup_id} has data checksums and builds on {', '.join(without)} without: a restore of it "
        "may need its checksums rewritten; take a full backup"
    )
