"""Large catalogues made from nothing: backups that are records only, and a ledger of WAL files nobody ever wrote."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from tests.support.users import give

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.homes import BarmanHome, BarmanServer

_SEGMENT = 16 << 20
_PER_LOG = (1 << 32) // _SEGMENT
_FIRST_BACKUP = datetime(2024, 1, 1, tzinfo=timezone.utc)

_RECORD = """\
backup_label=None
begin_offset=40
begin_time={begin}+00:00
begin_wal={wal}
begin_xlog={lsn}
children_backup_ids=None
cluster_size=1073741824
compression=None
config_file=/srv/pg/postgresql.conf
copy_stats={{'copy_time': 100.5, 'total_time': 100.5}}
data_checksums=on
deduplicated_size=1073741824
encryption=None
end_offset=312
end_time={end}+00:00
end_wal={wal}
end_xlog={end_lsn}
error=None
hba_file=/srv/pg/pg_hba.conf
ident_file=/srv/pg/pg_ident.conf
included_files=None
mode=postgres
parent_backup_id=None
pgdata=/srv/pg
server_name={server}
size=1073741824
status=DONE
summarize_wal=None
systemid=7710493415885742363
tablespaces=None
timeline=1
version=150018
xlog_segment_size=16777216
"""


def add_server(
    home: BarmanHome, name: str, *, backups: int, segments: int, policy: str = "REDUNDANCY 1000"
) -> BarmanServer:
    """Add a server with that many backups spread evenly over that many archived segments; PostgreSQL is not there."""
    server = home.server(
        name,
        description="measured",
        conninfo=f"host={home.directory} user=barman dbname=postgres connect_timeout=1",
        streaming_conninfo=f"host={home.directory} user=barman connect_timeout=1",
        backup_method="postgres",
        archiver="on",
        retention_policy=policy,
        compression="gzip",
    )
    for directory in ("base", "meta", "wals", "incoming", "streaming", "errors"):
        (server.directory / directory).mkdir(parents=True)
    identity = '{\n    "systemid": "7710493415885742363",\n    "version": "15"\n}\n'
    (server.directory / "identity.json").write_text(identity)
    step = max(1, segments // max(1, backups))
    for number in range(backups):
        _write_backup(server, number, 1 + number * step)
    _write_ledger(server.wals / f"{name}-xlog.db", segments)
    for path in (server.directory, *server.directory.rglob("*")):
        give(path)
    return server


def add_wal_files(server: BarmanServer, count: int) -> None:
    """Write the first so many files that the ledger lists; small ones."""
    for number in range(1, count + 1):
        name = _wal_name(number)
        directory = server.wals / name[:16]
        if not directory.exists():
            directory.mkdir()
            give(directory)
        (directory / name).write_bytes(b"\x1f\x8b" + name.encode())
        give(directory / name)


def _write_backup(server: BarmanServer, number: int, segment: int) -> None:
    begin = _FIRST_BACKUP + timedelta(days=number)
    identifier = begin.strftime("%Y%m%dT%H%M%S")
    (server.base / identifier / "data").mkdir(parents=True)
    text = _RECORD.format(
        begin=begin.strftime("%Y-%m-%d %H:%M:%S.%f"),
        end=(begin + timedelta(minutes=10)).strftime("%Y-%m-%d %H:%M:%S.%f"),
        wal=_wal_name(segment),
        lsn=_lsn(segment, 40),
        end_lsn=_lsn(segment, 312),
        server=server.name,
    )
    (server.directory / "meta" / f"{identifier}-backup.info").write_text(text)


def _write_ledger(path: Path, segments: int) -> None:
    began = _FIRST_BACKUP.timestamp()
    with path.open("w") as ledger:
        for number in range(1, segments + 1):
            size = 1_000_000 + number * 7919 % 2_000_000
            ledger.write(f"{_wal_name(number)}\t{size}\t{began + number * 40.25}\tgzip\tNone\n")


def _wal_name(segment: int) -> str:
    return f"00000001{segment // _PER_LOG:08X}{segment % _PER_LOG:08X}"


def _lsn(segment: int, offset: int) -> str:
    return f"{segment // _PER_LOG:X}/{segment % _PER_LOG * _SEGMENT + offset:X}"
