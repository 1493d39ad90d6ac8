"""How deletions are shown that do not take place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.human import pretty_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.retention.preview import DeletionPreview


def render_preview(preview: DeletionPreview) -> Iterator[str]:
    """Yield the lines about the backups and the WAL files that would be deleted."""
    for (backup_id, reason), size in preview.deletions:
        freed = "" if size is None else f"{pretty_size(size)}, "
        yield f"Would delete backup {backup_id} ({freed}{reason})"
    wal = preview.wal
    if wal.files:
        files = f"{wal.files} WAL file{'s' * (wal.files > 1)}"
        yield f"Would delete {files} from {wal.first} to {wal.last} ({pretty_size(wal.size_bytes)}; {wal.reason})"
    elif preview.deletions:
        yield f"Would delete no WAL files ({wal.reason})"
    else:
        yield "Would delete nothing"


def preview_to_json(preview: DeletionPreview) -> dict[str, object]:
    """Return the same as data."""
    wal = preview.wal
    return {
        "backups": [
            {"backup_id": backup_id, "reason": reason, "size_bytes": size}
            for (backup_id, reason), size in preview.deletions
        ],
        "wal": {
            "files": wal.files,
            "size_bytes": wal.size_bytes,
            "first": wal.first,
            "last": wal.last,
            "reason": wal.reason,
        },
    }
