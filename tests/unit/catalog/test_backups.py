"""The records on disk: every layout, every state a crash or another program leaves."""

from __future__ import annotations

import errno
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from barman.catalog.backups import BackupCatalog
from barman.catalog.layout import ServerPaths
from barman.catalog.record import BackupId, BackupRecord, KeepTarget, Status, parse_record
from barman.errors import CatalogError, StorageError, UnknownBackup
from barman.storage.local import LocalStorage

NOW = datetime(2026, 11, 21, 5, 36, 18, tzinfo=timezone.utc)
FIRST, SECOND = BackupId("20261121T053618"), BackupId("20261121T053619")


@pytest.fixture
def paths(tmp_path):
    made = ServerPaths(tmp_path, *(tmp_path / name for name in ("base", "wals", "in", "st", "err", "wals/x-xlog.db")))
    made.meta.mkdir()
    return made


@pytest.fixture
def catalog(paths):
    return BackupCatalog(LocalStorage(paths.meta), paths)


@pytest.fixture
def utc(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_saved_record_is_loaded(catalog):
    record = BackupRecord(FIRST, status=Status.DONE, pgdata="/srv/pg\udcff", timeline=3)
    catalog.save(record)

    assert catalog.load() == {FIRST: record}
    assert catalog.get(FIRST) == record


def test_an_empty_home_has_no_backups(tmp_path):
    paths = ServerPaths(tmp_path / "no", *[tmp_path / "no" / "x"] * 6)

    assert BackupCatalog(LocalStorage(paths.meta), paths).load() == {}


def test_an_unknown_backup_is_told(catalog):
    with pytest.raises(UnknownBackup, match=FIRST):
        catalog.get(FIRST)


def test_records_come_oldest_first_and_other_files_are_ignored(catalog, paths):
    for backup_id in (SECOND, FIRST):
        catalog.save(BackupRecord(backup_id))
    for name in ("x-backup.info", f"{FIRST}-backup.info.tmp", "notes", f"{FIRST}-backup_manifest"):
        (paths.meta / name).write_text("junk")

    assert list(catalog.load()) == [FIRST, SECOND]


def test_the_old_place_of_a_record_is_read_and_the_new_one_wins(catalog, paths):
    for backup_id in (FIRST, SECOND):
        paths.backup_dir(backup_id).mkdir(parents=True)
        paths.legacy_record_file(backup_id).write_text("status=FAILED\n")
    catalog.save(BackupRecord(SECOND, status=Status.DONE))

    assert {one: record.status for one, record in catalog.load().items()} == {
        FIRST: Status.FAILED,
        SECOND: Status.DONE,
    }


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param("", "empty", id="empty after a power cut"),
        pytest.param("\n\n", "empty", id="blank"),
        pytest.param("status=", "status", id="torn value"),
        pytest.param("sta", "no '='", id="torn line"),
    ],
)
def test_a_damaged_record_stops_nobody(catalog, paths, content, why):
    catalog.save(BackupRecord(SECOND, status=Status.DONE))
    paths.record_file(FIRST).write_text(content)

    records = catalog.load()

    assert records[SECOND].is_done
    assert records[FIRST].status is Status.EMPTY
    assert why in records[FIRST].damage
    with pytest.raises(CatalogError, match=FIRST):
        catalog.get(FIRST)
    with pytest.raises(CatalogError, match=FIRST):
        catalog.save(records[FIRST])
    assert paths.record_file(FIRST).read_text() == content


def test_a_record_that_cannot_be_read_counts_as_damaged(catalog, paths):
    paths.backup_dir(SECOND).mkdir(parents=True)
    paths.legacy_record_file(SECOND).mkdir()

    assert "cannot read" in catalog.load()[SECOND].damage


def test_children_come_from_the_childrens_own_links(catalog):
    third = BackupId("20261121T053620")
    catalog.save(BackupRecord(FIRST, children_backup_ids=(BackupId("20200101T000000"),)))
    catalog.save(BackupRecord(SECOND, parent_backup_id=FIRST))
    catalog.save(BackupRecord(third, parent_backup_id=FIRST))

    assert catalog.get(FIRST).children_backup_ids == (SECOND, third)


def test_a_damaged_child_is_still_known_to_its_parent(catalog, paths):
    catalog.save(BackupRecord(FIRST, children_backup_ids=(SECOND,)))
    paths.record_file(SECOND).write_text("")

    assert catalog.get(FIRST).children_backup_ids == (SECOND,)


@pytest.mark.usefixtures("utc")
def test_what_only_looks_like_an_id_is_none(catalog, paths):
    for odd in ("20269999T999999", "20260230T000000"):
        (paths.base / odd).mkdir(parents=True)
        (paths.meta / f"{odd}-backup.info").write_text("status=DONE\n")

    record = catalog.new_record(NOW)

    assert record.backup_id < "2027"
    assert list(catalog.load()) == [record.backup_id]


def test_a_new_record_has_the_local_time_as_its_id(catalog, paths):
    record = catalog.new_record(NOW, systemid="7", backup_name="weekly")

    assert record.backup_id == FIRST
    assert catalog.get(FIRST) == record
    assert parse_record(paths.record_file(FIRST).read_text(), FIRST).backup_name == "weekly"


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize("clock_steps_back", [timedelta(), timedelta(hours=1)])
def test_ids_never_repeat_or_go_back(catalog, clock_steps_back):
    first = catalog.new_record(NOW)
    second = catalog.new_record(NOW - clock_steps_back)
    third = catalog.new_record(NOW - clock_steps_back)

    assert [first.backup_id, second.backup_id, third.backup_id] == [FIRST, SECOND, "20261121T053620"]


@pytest.mark.usefixtures("utc")
def test_ids_of_directories_and_marks_without_a_record_are_not_used_again(catalog, paths):
    (paths.base / FIRST).mkdir(parents=True)
    (paths.meta / f"{SECOND}-delete_this").write_text("delete")

    assert catalog.new_record(NOW).backup_id == "20261121T053620"


def test_keep_annotations_are_set_changed_and_cleared(catalog, paths):
    catalog.save(BackupRecord(FIRST))
    assert catalog.keep(FIRST) is None

    catalog.set_keep(FIRST, KeepTarget.FULL)
    assert (paths.meta / f"{FIRST}-keep").read_text() == "full"
    catalog.set_keep(FIRST, KeepTarget.STANDALONE)
    assert catalog.keep(FIRST) is KeepTarget.STANDALONE
    assert catalog.keeps() == {FIRST: KeepTarget.STANDALONE}

    catalog.clear_keep(FIRST)
    catalog.clear_keep(FIRST)
    assert catalog.keep(FIRST) is None
    assert catalog.keeps() == {}


@pytest.mark.parametrize(
    ("content", "target"), [("", None), ("\n", None), ("forever", KeepTarget.FULL), ("standalone\n", "standalone")]
)
def test_what_others_left_in_a_keep_file_is_understood(catalog, paths, content, target):
    (paths.meta / f"{FIRST}-keep").write_text(content)

    assert catalog.keep(FIRST) == target


def test_an_annotation_in_the_old_place_counts_until_it_is_changed(catalog, paths):
    old = paths.legacy_annotation(FIRST, "keep")
    old.parent.mkdir(parents=True)
    old.write_text("full")

    assert catalog.keep(FIRST) is KeepTarget.FULL
    catalog.set_keep(FIRST, KeepTarget.STANDALONE)
    assert not old.exists()
    old.write_text("full")
    catalog.clear_keep(FIRST)
    assert catalog.keep(FIRST) is None


def test_annotations_that_cannot_be_read_or_removed_are_named(catalog, paths):
    paths.legacy_annotation(FIRST, "keep").mkdir(parents=True)

    with pytest.raises(CatalogError, match="annotations/keep"):
        catalog.keep(FIRST)
    with pytest.raises(CatalogError, match="annotations/keep"):
        catalog.clear_keep(FIRST)


def test_a_marked_backup_is_doomed_until_it_is_removed(catalog, paths):
    catalog.save(BackupRecord(FIRST, status=Status.DONE))
    catalog.mark_deletion(FIRST)

    assert (paths.meta / f"{FIRST}-delete_this").read_text() == "delete"
    assert catalog.load()[FIRST].doomed
    assert catalog.deletion_marks() == {FIRST}

    catalog.set_keep(FIRST, KeepTarget.FULL)
    catalog.remove(FIRST)
    assert list(paths.meta.iterdir()) == []


class FullDisk(LocalStorage):
    """A disk without a free block."""

    def write_batch(self, writes, *, workers=1):
        raise StorageError(f"{writes[0].key}: no space left on device")


def test_a_deletion_can_be_marked_on_a_full_disk(catalog, paths):
    catalog.save(BackupRecord(FIRST, status=Status.DONE))
    full = BackupCatalog(FullDisk(paths.meta), paths)

    full.mark_deletion(FIRST)
    full.mark_deletion(FIRST)

    assert full.load()[FIRST].doomed


def test_a_mark_that_cannot_be_made_at_all_is_an_error_and_nothing_is_doomed(catalog, paths):
    paths.backup_dir(FIRST).mkdir(parents=True)

    with pytest.raises(StorageError, match="no space"):
        BackupCatalog(FullDisk(paths.meta), paths).mark_deletion(FIRST)
    assert catalog.deletion_marks() == frozenset()


def test_a_record_that_vanishes_while_loading_is_not_there(paths):
    class Vanishing(LocalStorage):
        def open(self, key):
            (paths.meta / key).unlink(missing_ok=True)
            return super().open(key)

    catalog = BackupCatalog(Vanishing(paths.meta), paths)
    catalog.save(BackupRecord(FIRST))

    assert catalog.load() == {}


def test_an_input_error_while_reading_counts_as_damage(paths):
    class Broken(LocalStorage):
        def open(self, key):
            raise StorageError(f"{key}: {errno.errorcode[errno.EIO]}")

    catalog = BackupCatalog(Broken(paths.meta), paths)
    catalog.save(BackupRecord(FIRST))

    assert "EIO" in catalog.load()[FIRST].damage


def test_saving_does_not_write_what_is_no_part_of_the_file(catalog, paths):
    catalog.save(replace(BackupRecord(FIRST), doomed=True))

    assert "doomed" not in paths.record_file(FIRST).read_text()
