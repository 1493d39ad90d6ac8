"""A backup travels in a tarball: whole, checked, and without a trace when it fails."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from barman.catalog.identity import Identity, read_identity, write_identity
from barman.catalog.record import KeepTarget, Status
from barman.catalog.wal_archive import archive_key
from barman.errors import CatalogError, LockBusy, Refused, StorageError, UserError, WalError
from barman.exchange import tarball
from barman.exchange.exporting import Compression, export_backup
from barman.exchange.importing import import_backup
from barman.progress import LogReporter
from barman.server import open_server
from tests.support.catalogs import HISTORY, SYSTEM_ID, HandMade, backup_id, segment
from tests.support.settings import load_text

NOW = datetime(2026, 11, 21, 9, 4, 2, tzinfo=timezone.utc)
FIRST = backup_id(1)


@pytest.fixture
def catalog(tmp_path):
    made = HandMade(tmp_path / "home" / "main")
    made.make_directories()
    made.add_backup(1, 2, 3, mode="rsync-concurrent")
    made.add_wal([*(segment(number) for number in range(1, 6)), HISTORY])
    write_identity(made.paths, SYSTEM_ID, "15")
    return made


@pytest.fixture
def server(tmp_path, catalog):
    return open_server(load_text(tmp_path, "[main]\nconninfo = dbname=x\narchiver = on\n"), "main")


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def export(server, out):
    def export(compression=None, directory=out):
        return export_backup(
            server,
            server.backups.get(FIRST),
            directory,
            compression=compression,
            origin={"barman_ver": "4", "timestamp": NOW},
            now=NOW,
            reporter=LogReporter(),
        )

    return export


def empty(catalog):
    """Make the catalogue that of a server nothing was ever backed up of."""
    shutil.rmtree(catalog.directory)
    catalog.make_directories()


@pytest.mark.parametrize("compression", [None, Compression("gzip", 1), Compression("bzip2"), Compression("xz", 0)])
def test_an_exported_backup_can_be_imported_into_an_empty_server(catalog, server, export, compression):
    record = catalog.backups.get(FIRST)
    path = export(compression)
    empty(catalog)

    imported = import_backup(server, path, LogReporter())

    assert imported == record
    assert catalog.backups.get(FIRST) == record
    assert catalog.is_whole(record)
    assert catalog.archived() == catalog.listed() == [segment(2), segment(3)]
    assert catalog.backups.keep(FIRST) is KeepTarget.STANDALONE
    assert read_identity(catalog.paths) == Identity(SYSTEM_ID, "15")
    assert sorted(os.listdir(catalog.paths.base)) == [FIRST]
    assert (catalog.paths.data_dir(FIRST).stat().st_mode & 0o700) == 0o700


def test_the_tarball_has_the_name_and_the_members_the_reference_gives_it(export):
    path = export(Compression("gzip"))

    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f"backup-export-main-{FIRST}-20261121T090402-{checksum[:8]}.tar.gz"
    with tarfile.open(path) as tar:
        names = tar.getnames()
    assert names[:4] == ["identity.json", "backup.info", "barman.json", "backup"]
    assert names[-3:] == [f"wals/{archive_key(segment(2))}", f"wals/{archive_key(segment(3))}", "xlog.db"]
    assert "backup/data/global/pg_control" in names
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_name_of_a_file_is_a_file_of_its_own_in_the_tarball(catalog, server, export):
    one = catalog.paths.data_dir(FIRST) / "PG_VERSION"
    other = catalog.paths.data_dir(FIRST) / "other"
    other.hardlink_to(one)
    path = export()
    empty(catalog)
    import_backup(server, path, LogReporter())

    assert other.read_bytes() == one.read_bytes() == b"15\n"


def test_tablespace_links_lead_to_the_new_place(catalog, server, export):
    links = catalog.paths.data_dir(FIRST) / "pg_tblspc"
    links.mkdir()
    (links / "16386").symlink_to("/somewhere/else")
    catalog.write_record(replace(catalog.backups.get(FIRST), mode="postgres"))
    path = export()
    empty(catalog)
    import_backup(server, path, LogReporter())

    assert os.readlink(links / "16386") == str(catalog.paths.tablespace_dir(FIRST, 16386))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"status": Status.WAITING_FOR_WALS}, "WAITING_FOR_WALS"),
        ({"status": Status.FAILED}, "FAILED"),
        ({"parent_backup_id": backup_id(0)}, "incremental"),
    ],
)
def test_only_what_stands_alone_and_is_done_is_exported(catalog, export, out, fields, why):
    catalog.write_record(replace(catalog.backups.get(FIRST), **fields))

    with pytest.raises(Refused, match=why):
        export()
    assert list(out.iterdir()) == []


def test_a_backup_being_deleted_is_not_exported(catalog, server, export):
    server.backups.mark_deletion(FIRST)

    with pytest.raises(Refused, match="being deleted"):
        export()


def test_what_an_export_needs_must_be_there(catalog, export, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        export(directory=tmp_path / "nowhere")
    (catalog.paths.wals / archive_key(segment(3))).unlink()
    with pytest.raises(WalError, match=segment(3)):
        export()
    catalog.paths.identity.unlink()
    with pytest.raises(CatalogError, match=r"identity\.json"):
        export()


@pytest.mark.parametrize(
    ("begin", "needed"),
    [
        pytest.param(segment(2), [segment(2), segment(3, 2)], id="archived on the timeline that begins behind its end"),
        pytest.param(segment(1), [segment(1), segment(2), segment(3, 2)], id="followed to another timeline"),
    ],
)
def test_wal_of_a_newer_timeline_travels_with_its_history(begin, needed, catalog, server, export):
    end = segment(3, 2) if begin == segment(1) else segment(3)
    catalog.write_record(replace(catalog.backups.get(FIRST), begin_wal=begin, end_wal=end))
    (catalog.paths.wals / archive_key(HISTORY)).write_text("1\t0/3000100\tno recovery target specified\n")
    server.wal_archive.remove([segment(3)])
    catalog.add_wal([*(segment(number) for number in (1, 2, 4, 5)), HISTORY, segment(3, 2)])
    (catalog.paths.wals / archive_key(HISTORY)).write_text("1\t0/3000100\tno recovery target specified\n")
    path = export()
    empty(catalog)
    import_backup(server, path, LogReporter())
    assert sorted(entry.name for entry in server.xlogdb.entries()) == sorted([*needed, HISTORY])
    assert server.wal_archive.missing([*needed, HISTORY]) == []


def test_a_failed_export_leaves_nothing(catalog, export, out):
    os.mkfifo(catalog.paths.data_dir(FIRST) / "pipe")

    with pytest.raises(CatalogError, match="pipe"):
        export()
    assert list(out.iterdir()) == []


def test_nothing_is_exported_or_imported_while_the_backup_is_being_changed(catalog, server, export):
    with server.locks.backup_id(FIRST), pytest.raises(LockBusy):
        export()
    path = export()
    empty(catalog)
    with server.locks.backup(), pytest.raises(LockBusy):
        import_backup(server, path, LogReporter())


def refused(catalog, server, path, error, why):
    """Assert that an import fails and leaves everything as it was."""
    before = sorted(catalog.directory.rglob("*"))
    with pytest.raises(error, match=why):
        import_backup(server, path, LogReporter())
    assert sorted(catalog.directory.rglob("*")) == before


def test_a_backup_that_is_here_is_not_imported_again(catalog, server, export):
    refused(catalog, server, export(), Refused, "already")


def test_a_damaged_tarball_is_refused(catalog, server, export):
    path = export()
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    empty(catalog)

    refused(catalog, server, path, UserError, "damaged")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("backup.tar", "not named"),
        (f"backup-export-main-{FIRST}-20261121T090402-c4152e18.zip", "not named"),
        (f"backup-export-other-{FIRST}-20261121T090402-c4152e18.tar", "'other'"),
        (f"backup-export-main-{FIRST}-20261121T090402-c4152e18.tar", "cannot read"),
    ],
)
def test_only_tarballs_of_this_server_are_read(catalog, server, tmp_path, name, why):
    empty(catalog)
    refused(catalog, server, tmp_path / name, UserError, why)


def test_a_backup_of_another_instance_is_refused(catalog, server, export):
    path = export()
    empty(catalog)
    write_identity(catalog.paths, "42", "15")

    refused(catalog, server, path, Refused, "42")


def test_another_major_version_is_told(catalog, server, export, caplog):
    path = export()
    empty(catalog)
    write_identity(catalog.paths, SYSTEM_ID, "16")
    import_backup(server, path, LogReporter())

    assert "PostgreSQL 15" in caplog.text


def test_wal_that_is_here_with_another_content_is_refused(catalog, server, export):
    path = export()
    empty(catalog)
    write_identity(catalog.paths, SYSTEM_ID, "15")
    catalog.add_wal([segment(2)])
    (catalog.paths.wals / archive_key(segment(2))).write_bytes(b"other")

    refused(catalog, server, path, WalError, segment(2))


def test_wal_that_is_here_already_is_left_alone(catalog, server, export):
    path = export()
    empty(catalog)
    catalog.add_wal([segment(1), segment(2)])

    import_backup(server, path, LogReporter())

    assert catalog.archived() == catalog.listed() == [segment(1), segment(2), segment(3)]


def retar(path, change):
    """Write the tarball again with change made to its list of (member, content), under the name that fits."""
    members = []
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            members.append((member, file.read() if file else b""))
    members = change(members)
    new = path.with_suffix(".new")
    with tarfile.open(new, "w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    checksum = hashlib.sha256(new.read_bytes()).hexdigest()
    target = path.with_name(f"{path.stem[:-8]}{checksum[:8]}.tar")
    new.rename(target)
    return target


def extra(name, **fields):
    member = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(member, key, value)
    return lambda members: [*members, (member, b"")]


def without(name):
    return lambda members: [(member, content) for member, content in members if not member.name.startswith(name)]


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        pytest.param(extra("backup/../../escape"), UserError, "must not have", id="leads out"),
        pytest.param(extra("/etc/passwd"), UserError, "must not have", id="absolute"),
        pytest.param(extra("surprise"), UserError, "must not have", id="unknown place"),
        pytest.param(extra("backup/link", type=tarfile.SYMTYPE, linkname="/"), UserError, "must not", id="link"),
        pytest.param(extra("backup/hard", type=tarfile.LNKTYPE, linkname="x"), UserError, "must not", id="hard link"),
        pytest.param(extra("backup/device", type=tarfile.CHRTYPE), UserError, "must not have", id="device"),
        pytest.param(without("identity.json"), UserError, "no identity.json", id="no identity"),
        pytest.param(without("xlog.db"), UserError, "no xlog.db", id="no ledger"),
        pytest.param(without("backup"), UserError, "no backup", id="no backup"),
        pytest.param(without(f"wals/{archive_key(segment(3))}"), WalError, segment(3), id="WAL missing"),
    ],
)
def test_a_tarball_that_is_not_as_it_must_be_leaves_no_trace(catalog, server, export, change, error, why):
    path = retar(export(), change)
    empty(catalog)
    write_identity(catalog.paths, SYSTEM_ID, "15")

    refused(catalog, server, path, error, why)


def test_a_tarball_whose_identity_is_damaged_is_refused(catalog, server, export):
    path = retar(export(), lambda members: [(m, b"{" if m.name == "identity.json" else c) for m, c in members])
    empty(catalog)

    refused(catalog, server, path, UserError, "damaged")


def test_an_incremental_backup_in_a_tarball_is_refused(catalog, server, export):
    def change(members):
        text = b"parent_backup_id=20261101T000000\nstatus=DONE\n"
        return [(m, text if m.name == "backup.info" else c) for m, c in members]

    path = retar(export(), change)
    empty(catalog)

    refused(catalog, server, path, Refused, "incremental")


def test_something_that_is_no_tar_is_refused(catalog, server, tmp_path):
    content = b"nothing of the kind" * 100
    name = f"backup-export-main-{FIRST}-20261121T090402-{hashlib.sha256(content).hexdigest()[:8]}.tar"
    (tmp_path / name).write_bytes(content)
    empty(catalog)

    refused(catalog, server, tmp_path / name, UserError, "not a tarball")


def test_an_import_that_fails_at_the_end_takes_everything_back(catalog, server, export, monkeypatch):
    path = export()
    empty(catalog)
    write_identity(catalog.paths, SYSTEM_ID, "15")

    def fail(self, record):
        raise StorageError("no space left on device")

    monkeypatch.setattr(type(server.backups), "save", fail)
    with pytest.raises(StorageError):
        import_backup(server, path, LogReporter())

    assert catalog.backups.load() == {}
    assert catalog.archived() == catalog.listed() == []
    assert list(catalog.paths.base.iterdir()) == []
    assert list(catalog.paths.meta.iterdir()) == []


def test_an_import_interrupted_as_its_record_is_saved_leaves_no_record_without_files(
    catalog, server, export, monkeypatch
):
    path = export()
    empty(catalog)
    save = type(server.backups).save

    def interrupted(self, record):
        save(self, record)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(server.backups), "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_backup(server, path, LogReporter())

    assert catalog.backups.load() == {}
    assert list(catalog.paths.base.iterdir()) == []
    assert read_identity(catalog.paths) is None


def test_the_instance_is_known_before_the_backup_is_there(catalog, server, export, monkeypatch):
    path = export()
    empty(catalog)
    save = type(server.backups).save
    known = []

    def watched(self, record):
        known.append(read_identity(catalog.paths))
        save(self, record)

    monkeypatch.setattr(type(server.backups), "save", watched)
    import_backup(server, path, LogReporter())

    assert known == [Identity(SYSTEM_ID, "15")]


def test_what_a_killed_import_left_is_cleared_by_the_next(catalog, server, export):
    path = export()
    empty(catalog)
    (catalog.paths.base / ".import-abc" / "backup").mkdir(parents=True)
    catalog.paths.data_dir(FIRST).mkdir(parents=True)
    (catalog.paths.data_dir(FIRST) / "half").write_text("x")

    import_backup(server, path, LogReporter())

    assert os.listdir(catalog.paths.base) == [FIRST]
    assert not (catalog.paths.data_dir(FIRST) / "half").exists()


@pytest.mark.parametrize("server_name", ["main", "a-b", "with-20261101T000000-in-it"])
def test_names_of_tarballs_are_read_as_they_are_written(server_name):
    name = tarball.tarball_name(server_name, FIRST, NOW, checksum="c4152e18" + "0" * 56, compression="xz")

    assert tarball.parse_tarball_name(name) == (server_name, FIRST, "c4152e18")
