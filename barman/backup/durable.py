"""The barrier between a copy and the claim that it exists."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from barman.host.files import fsync_tree
from barman.host.reflink import shared_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from barman.catalog.record import BackupRecord
    from barman.progress import Reporter

# Flushing waits for the medium, not for the processor.
_WORKERS = 8


def make_tree_durable(
    record: BackupRecord, directory: Path, reporter: Reporter, *, shares: bool = False, links_are_durable: bool = False
) -> BackupRecord:
    """Return when every file and name in the backup's directory, and its own name, survive a power cut; with sizes set.

    shares: files share blocks with those of other backups, which do not count as its own. links_are_durable: files
    with another name are those of a backup that has been through this.

    OSError names the file that could not be flushed.
    """
    with reporter.bar("Flushing to disk", total=record.cluster_size, unit="bytes") as bar:
        totals = fsync_tree(
            directory,
            workers=_WORKERS,
            on_file=bar.advance,
            shared=shared_bytes if shares else None,
            links_are_durable=links_are_durable,
        )
        bar.set_total(totals.bytes)
    return replace(record, size=totals.bytes, deduplicated_size=totals.bytes - totals.linked_bytes)
