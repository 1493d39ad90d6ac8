"""A backup as show-backup prints it, for people and for programs. Pure."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from barman.catalog.record import BackupRecord, BackupType
from barman.cli.render.backup_list import epoch_text, size_to_json, status_word
from barman.human import pretty_interval, pretty_percent, pretty_size
from barman.postgres.lsn import format_lsn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from barman.catalog.page_report import PageReport
    from barman.catalog.xlogdb import WalTotals
    from barman.monitor.listing import BackupDetails, Hole

_OLDEST = "- (this is the oldest base backup)"
_LATEST = "- (this is the latest base backup)"
_TIMELINES_WARNING = "WAL information is inaccurate due to multiple timelines interacting with this backup"

Json = dict[str, Any]
Row = tuple[str, object]


# show-backup of what is not complete


def render_incomplete(record: BackupRecord) -> str:
    """Return what show-backup prints of a backup that is not complete."""
    lines = [f"Backup {record.backup_id}:", *_top(_identity_rows(record))]
    lines += _group("Server information", _server_rows(record))
    lines += ["", *_top([("Error", record.error)] if record.error else [])]
    return "\n".join(lines)


def incomplete_to_json(record: BackupRecord) -> Json:
    """Return the same as data."""
    return _identity_json(record) | ({"error": record.error} if record.error else {})


# show-backup of a complete one


def render_details(details: BackupDetails) -> str:
    """Return what show-backup prints of a complete backup."""
    record = details.record
    lines = [f"Backup {record.backup_id}:", *_top([*_identity_rows(record), *_cluster_rows(record)])]
    lines += _group("Server information", _server_rows(record))
    lines += _snapshot_lines(record)
    lines += _group(
        "Tablespaces",
        [(each.name, f"{each.location} (oid: {each.oid})") for each in record.tablespaces or ()],
    )
    lines += _group("Base backup information", _base_rows(details))
    if details.pages is not None:
        lines += _group("Page checksums", _page_rows(details.pages))
    lines += _group("WAL information", _wal_rows(details))
    lines += _group("Catalog information", _catalog_rows(details))
    if details.timelines:
        lines += ["", f"WARNING: {_TIMELINES_WARNING}"]
    return "\n".join(lines)


def details_to_json(details: BackupDetails) -> Json:
    """Return the same as data."""
    record = details.record
    data = _identity_json(record) | {"backup_type": record.type.value}
    if record.cluster_size is not None:
        data |= size_to_json("cluster_size", record.cluster_size)
    if record.snapshots_info is not None:
        data["snapshots_info"] = record.snapshots_info
    if details.pages is not None:
        data["page_checksums"] = asdict(details.pages)
    return data | {
        "postgresql_version": record.version,
        "pgdata_directory": record.pgdata,
        "tablespaces": [
            {"name": each.name, "location": each.location, "oid": each.oid} for each in record.tablespaces or ()
        ],
        "base_backup_information": _base_json(details),
        "catalog_information": _catalog_json(details),
        "wal_information": _wal_json(details),
    }


def _identity_rows(record: BackupRecord) -> Iterator[Row]:
    if record.backup_name:
        yield "Backup Name", record.backup_name
    yield "Server Name", record.server_name
    if record.systemid:
        yield "System Id", record.systemid
    yield "Status", status_word(record)


def _identity_json(record: BackupRecord) -> Json:
    data: Json = {
        "backup_id": record.backup_id,
        "status": status_word(record),
        "server_information": {"data_checksums": record.data_checksums, "summarize_wal": record.summarize_wal},
    }
    if record.backup_name:
        data["backup_name"] = record.backup_name
    if record.systemid:
        data["system_id"] = record.systemid
    return data


def _cluster_rows(record: BackupRecord) -> Iterator[Row]:
    yield "PostgreSQL Version", record.version
    yield "PGDATA directory", record.pgdata
    if record.cluster_size is not None:
        yield "Estimated Cluster Size", pretty_size(record.cluster_size)


def _server_rows(record: BackupRecord) -> Iterator[Row]:
    if record.data_checksums:
        yield "Checksums", record.data_checksums
    if record.summarize_wal:
        yield "WAL summarizer", record.summarize_wal


def _snapshot_lines(record: BackupRecord) -> list[str]:
    info = record.snapshots_info
    if info is None:
        return []
    lines = _group(
        "Snapshot information", [("provider", info.get("provider")), *sorted(info.get("provider_info", {}).items())]
    )
    for snapshot in info.get("snapshots", ()):
        mount = snapshot.get("mount", {})
        rows = [
            *sorted(snapshot.get("provider", {}).items()),
            ("Mount point", mount.get("mount_point")),
            ("Mount options", mount.get("mount_options")),
        ]
        lines += ["", *_nested(rows)]
    return lines


def _base_rows(details: BackupDetails) -> Iterator[Row]:
    record, own = details.record, details.wal.own
    yield "Backup Method", record.mode
    if record.encryption:
        yield "Encryption", record.encryption
    if record.mode == "postgres":
        yield "Backup Type", record.type.value
    size = _stored_size(record)
    if size:
        whole = pretty_size(size + own.size_bytes)
        yield "Backup Size", f"{pretty_size(size)} ({whole} with WALs)" if own.size_bytes else pretty_size(size)
    if record.compression:
        yield "Backup Compression", record.compression
    if own.size_bytes:
        yield "WAL Size", pretty_size(own.size_bytes)
    saved = _saved_bytes(record)
    if saved is not None:
        yield "Resources saved", f"{pretty_size(saved)} ({pretty_percent(record.deduplication_ratio)})"
    yield from _position_rows(record, own)


def _page_rows(report: PageReport) -> Iterator[Row]:
    if report.verified is not None:
        yield "Verified pages", report.verified
    yield "Damaged pages", report.damaged
    for line in report.lines():
        yield "Damaged", line


def _position_rows(record: BackupRecord, own: WalTotals) -> Iterator[Row]:
    yield "Timeline", record.timeline
    yield "Begin WAL", record.begin_wal
    yield "End WAL", record.end_wal
    if own.files:
        yield "Number of WALs", own.files
    ratio = _compression_ratio(record, own.files, own.size_bytes)
    if ratio > 0:
        yield "WAL compression ratio", pretty_percent(ratio)
    yield "Begin time", record.begin_time
    yield "End time", record.end_time
    yield from _speed_rows(record)
    yield "Begin Offset", record.begin_offset
    yield "End Offset", record.end_offset
    yield "Begin LSN", record.begin_xlog
    yield "End LSN", record.end_xlog


def _speed_rows(record: BackupRecord) -> Iterator[Row]:
    copy_s, analysis_s, workers = _speed(record)
    if not copy_s:
        return
    startup = f" + {_interval(analysis_s)} startup" if analysis_s >= 1 else ""
    yield "Copy time", _interval(copy_s) + startup
    size = _stored_size(record)
    if size:
        jobs = f" ({workers} jobs)" if workers > 1 else ""
        yield "Estimated throughput", f"{pretty_size(size / copy_s)}/s{jobs}"


def _base_json(details: BackupDetails) -> Json:
    record, own = details.record, details.wal.own
    size = _stored_size(record) or 0
    data: Json = {
        "backup_method": record.mode,
        "encryption": record.encryption,
        "compression": record.compression,
        **size_to_json("backup_size", size),
        **size_to_json("backup_size_with_wals", size + own.size_bytes),
        **size_to_json("wal_size", own.size_bytes),
        "wal_num": own.files,
        "timeline": record.timeline,
        "begin_wal": record.begin_wal,
        "end_wal": record.end_wal,
        "begin_offset": record.begin_offset,
        "end_offset": record.end_offset,
        "begin_lsn": record.begin_xlog,
        "end_lsn": record.end_xlog,
        **_time("begin_time", record.begin_time),
        **_time("end_time", record.end_time),
        **_speed_json(record),
    }
    saved = _saved_bytes(record)
    if saved is not None:
        data |= size_to_json("resources_saved", saved)
        data["resources_saved_percentage"] = pretty_percent(record.deduplication_ratio)
    ratio = _compression_ratio(record, own.files, own.size_bytes)
    if ratio > 0:
        data["wal_compression_ratio"] = pretty_percent(ratio)
    return data


def _speed_json(record: BackupRecord) -> Json:
    copy_s, analysis_s, workers = _speed(record)
    if not copy_s:
        return {}
    throughput = (_stored_size(record) or 0) / copy_s
    data: Json = {
        "copy_time": _interval(copy_s),
        "copy_time_seconds": copy_s,
        "throughput": f"{pretty_size(throughput)}/s",
        "throughput_bytes": int(throughput),
        "number_of_workers": workers,
    }
    if analysis_s >= 1:
        data |= {"analysis_time": _interval(analysis_s), "analysis_time_seconds": analysis_s}
    return data


def _wal_rows(details: BackupDetails) -> Iterator[Row]:
    wal = details.wal
    yield "Number of files", wal.later_files
    yield "Disk usage", pretty_size(wal.later_bytes)
    if wal.files_per_second > 0:
        yield "WAL rate", _per_hour(wal.files_per_second)
    ratio = _compression_ratio(details.record, wal.later_files, wal.later_bytes)
    if ratio > 0:
        yield "Compression ratio", pretty_percent(ratio)
    yield "Last available", wal.whole.last.name if wal.whole.last else None
    if details.hole is not None:
        yield "Missing WAL", details.hole.gap
        yield "Recoverable until", _until(details.hole)
    if details.timelines:
        yield "Reachable timelines", ", ".join(map(str, details.timelines))


def _wal_json(details: BackupDetails) -> Json:
    wal = details.wal
    ratio = _compression_ratio(details.record, wal.later_files, wal.later_bytes)
    rate = wal.files_per_second
    data: Json = {
        "no_of_files": wal.later_files,
        **size_to_json("disk_usage", wal.later_bytes),
        "wal_rate": _per_hour(rate) if rate > 0 else 0,
        "wal_rate_per_second": rate or 0,
        "compression_ratio": pretty_percent(ratio) if ratio > 0 else 0,
        "last_available": wal.whole.last.name if wal.whole.last else None,
        "timelines": [str(timeline) for timeline in details.timelines],
    }
    if details.hole is not None:
        data |= _hole_json(details.hole)
    if details.timelines:
        data["_WARNING"] = _TIMELINES_WARNING
    return data


def _until(hole: Hole) -> str:
    if hole.until_lsn is None:
        return "not at all: WAL of the backup itself is missing"
    about = f" (about {hole.until_time.astimezone():%Y-%m-%d %H:%M:%S%z})" if hole.until_time is not None else ""
    return format_lsn(hole.until_lsn) + about


def _hole_json(hole: Hole) -> Json:
    gap = hole.gap
    return {
        "missing_wal": {"first": gap.first, "last": gap.last, "files": gap.files},
        "recoverable_until_lsn": None if hole.until_lsn is None else format_lsn(hole.until_lsn),
        **_time("recoverable_until_time", hole.until_time),
    }


def _catalog_rows(details: BackupDetails) -> Iterator[Row]:
    record = details.record
    yield "Retention Policy", _retention(details)
    yield "Previous Backup", details.previous or _OLDEST
    yield "Next Backup", details.following or _LATEST
    if details.root is not None:
        yield "Root Backup", details.root
        yield "Parent Backup", record.parent_backup_id
        yield "Backup chain size", details.chain_size
    if record.mode == "postgres" and record.children_backup_ids:
        yield "Children Backup(s)", ",".join(record.children_backup_ids)


def _catalog_json(details: BackupDetails) -> Json:
    record = details.record
    data: Json = {
        "retention_policy": _retention(details),
        "previous_backup": details.previous or _OLDEST,
        "next_backup": details.following or _LATEST,
    }
    if details.root is not None:
        data |= {
            "root_backup_id": details.root,
            "parent_backup_id": record.parent_backup_id,
            "chain_size": details.chain_size,
        }
    if record.mode == "postgres":
        data["children_backup_ids"] = list(record.children_backup_ids) or None
    return data


def _retention(details: BackupDetails) -> str:
    return "not enforced" if details.retention is None else details.retention.value


def _stored_size(record: BackupRecord) -> int | None:
    """Return the space the backup takes of its own."""
    return record.size if record.deduplicated_size is None else record.deduplicated_size


def _saved_bytes(record: BackupRecord) -> int | None:
    """Return what the kind of backup saved compared with a full copy; None for kinds that save nothing."""
    if record.type not in (BackupType.RSYNC, BackupType.INCREMENTAL) or record.deduplicated_size is None:
        return None
    whole = record.size if record.type is BackupType.RSYNC else record.cluster_size
    return None if whole is None else whole - record.deduplicated_size


def _compression_ratio(record: BackupRecord, files: int, size_bytes: int) -> float:
    return 1 - size_bytes / (files * record.xlog_segment_size) if files else 0.0


def _speed(record: BackupRecord) -> tuple[float, float, int]:
    """Return seconds of copying and of analysis, and the number of workers; zeroes where unknown."""
    stats = record.copy_stats or {}
    return (
        float(stats.get("copy_time") or 0),
        float(stats.get("analysis_time") or 0),
        int(stats.get("number_of_workers") or 1),
    )


def _time(key: str, time: datetime | None) -> Json:
    return {key: str(time) if time else None, f"{key}_timestamp": epoch_text(time) if time else None}


def _interval(seconds: float) -> str:
    return pretty_interval(timedelta(seconds=seconds))


def _per_hour(per_second: float) -> str:
    return f"{per_second * 3600:.2f}/hour"


def _top(rows: Iterator[Row] | list[Row]) -> list[str]:
    return [f"  {label:<23}: {value}" for label, value in rows]


def _nested(rows: Iterator[Row] | list[Row]) -> list[str]:
    return [f"    {label:<21}: {value}" for label, value in rows]


def _group(title: str, rows: Iterator[Row] | list[Row]) -> list[str]:
    lines = _nested(rows)
    return ["", f"  {title}:", *lines] if lines else []
