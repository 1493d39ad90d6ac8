"""Laws of what barman remembers."""

from __future__ import annotations

import contextlib
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from barman.catalog.chains import chain, descendants, root_id
from barman.catalog.record import BackupId, BackupRecord, Status, is_backup_id, parse_record, render_record
from barman.catalog.selection import latest, next_backup, previous_backup, resolve
from barman.catalog.xlog_lines import format_entry
from barman.catalog.xlogdb import WalEntry, XlogDb
from barman.postgres.facts import Tablespace

TEXT = (
    st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs", "Zl", "Zp", "Cc", "Zs")), min_size=1)
    .filter(lambda text: text != "None" and text.strip() == text)
)  # fmt: skip
SIZES = st.integers(0, 1 << 60)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=ZONES)  # noqa: DTZ001  bounds are naive
IDS = (
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001  ids are local times
    .map(lambda time: BackupId(time.strftime("%Y%m%dT%H%M%S")))
)  # fmt: skip
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
RECORDS = st.builds(
    BackupRecord,
    backup_id=IDS,
    backup_label=st.none() | st.text().map(lambda text: "START" + text),
    backup_name=st.none() | TEXT,
    begin_offset=st.none() | SIZES,
    begin_time=st.none() | TIMES,
    begin_wal=st.none() | TEXT,
    begin_xlog=st.none() | TEXT,
    children_backup_ids=st.lists(IDS, max_size=3).map(tuple),
    cluster_size=st.none() | SIZES,
    compression=st.none() | TEXT,
    copy_stats=st.none() | st.dictionaries(st.text(), PLAIN, max_size=3),
    end_time=st.none() | TIMES,
    error=st.none() | TEXT,
    included_files=st.none() | st.lists(st.text(), max_size=3).map(tuple),
    parent_backup_id=st.none() | IDS,
    pgdata=st.none() | TEXT,
    size=st.none() | SIZES,
    snapshots_info=st.none() | st.dictionaries(st.text(), PLAIN, max_size=3),
    status=st.sampled_from(Status),
    tablespaces=st.none() | st.lists(st.builds(Tablespace, st.text(), SIZES, st.text()), max_size=3).map(tuple),
    timeline=st.none() | SIZES,
    xlog_segment_size=SIZES,
)


@given(RECORDS)
def test_reading_a_record_is_the_inverse_of_writing_it(record):
    assert parse_record(render_record(record), record.backup_id) == record


@given(RECORDS)
def test_writing_a_record_again_changes_nothing(record):
    text = render_record(record)

    assert render_record(parse_record(text, record.backup_id)) == text
    assert text.splitlines() == sorted(text.splitlines(), key=lambda line: line.partition("=")[0])


@st.composite
def forests(draw):
    """Backups of which each is based on nothing or on an older one, which may be gone."""
    ids = sorted(draw(st.sets(IDS, min_size=1, max_size=12)))
    statuses = st.sampled_from([Status.DONE, Status.DONE, Status.WAITING_FOR_WALS, Status.FAILED])
    records = {}
    for index, backup_id in enumerate(ids):
        parent = draw(st.none() | st.sampled_from(ids[:index])) if index else None
        records[backup_id] = BackupRecord(backup_id, parent_backup_id=parent, status=draw(statuses), mode="postgres")
    return records


@given(forests())
def test_chains_and_descendants_agree(records):
    for backup_id in records:
        links = [link.backup_id for link in chain(records, backup_id)]
        below = [one.backup_id for one in descendants(records, backup_id)]

        assert links[-1] == backup_id
        assert links[0] == root_id(records, backup_id)
        assert [records[link].parent_backup_id for link in links] == [None, *links[:-1]]
        assert set(below) == {other for other in records if backup_id in _ids(chain(records, other))} - {backup_id}
        for index, child in enumerate(below):
            assert not set(below[index + 1 :]) & set(_ids(descendants(records, child)))


def _ids(records):
    return [record.backup_id for record in records]


@given(forests())
def test_neighbours_are_each_others_neighbours(records):
    complete = [record for record in records.values() if record.is_copy_done]
    assert latest(records) == (complete[-1] if complete else None)
    for record in complete:
        following = next_backup(records, record.backup_id)
        assert following is None or previous_backup(records, following.backup_id) == record
    for backup_id in records:
        assert is_backup_id(backup_id)
        assert resolve(records, backup_id, server="x") == records[backup_id]


ENTRIES = st.builds(
    lambda timeline, log, seg, suffix, size, mtime, compression, encryption: WalEntry(
        f"{timeline:08X}{log:08X}{seg:08X}{suffix}", size, mtime, compression, encryption
    ),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(0, 255),
    st.sampled_from(["", "", "", "", ".partial", ".00000028.backup"]),
    SIZES,
    st.floats(0, 4e9),
    st.sampled_from([None, "gzip", "zstd"]),
    st.sampled_from([None, "gpg"]),
)
LISTS = st.lists(ENTRIES, min_size=1, max_size=60)


@contextlib.contextmanager
def ledger(content):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x-xlog.db")
        path.write_bytes(content)
        yield XlogDb(path, contextlib.nullcontext, lambda: ())


def expected(entries):
    by_name = {entry.name: entry for entry in entries}
    return [by_name[name] for name in sorted(by_name)]


@given(LISTS, st.data())
def test_any_order_and_any_doubles_give_the_same_answers(entries, data):
    everything = expected(entries)
    first, last = sorted(data.draw(st.lists(st.sampled_from(everything), min_size=2, max_size=2)))
    first, last = first.name[:24], last.name[:24]
    with ledger(b"".join(map(format_entry, entries))) as xlogdb:
        assert list(xlogdb.entries()) == everything
        assert list(xlogdb.entries(first, last)) == [one for one in everything if first <= one.name <= last]
        assert xlogdb.get([one.name for one in everything]) == {one.name: one for one in everything}
        segments = [one for one in everything if len(one.name) == 24]
        inside = [one for one in segments if first <= one.name <= last]
        (total,) = xlogdb.totals([(first, last)])
        assert (total.files, total.size_bytes) == (len(inside), sum(one.size for one in inside))
        assert (total.first, total.last) == ((inside[0], inside[-1]) if inside else (None, None))
        newest = xlogdb.newest_per_timeline()
        assert newest == {int(one.name[:8], 16): one for one in segments}


@given(LISTS, st.data())
def test_what_is_removed_is_gone_and_nothing_else(entries, data):
    everything = expected(entries)
    gone = data.draw(st.sets(st.sampled_from([one.name for one in everything])))
    with ledger(b"".join(map(format_entry, entries))) as xlogdb:
        xlogdb.remove(gone)
        assert list(xlogdb.entries()) == [one for one in everything if one.name not in gone]


@given(LISTS, LISTS, st.integers(0, 200))
def test_an_append_after_a_crash_at_any_byte_keeps_every_whole_line(before, after, torn):
    content = b"".join(map(format_entry, before))
    content = content[: max(len(content) - torn, 0)]
    whole = content[: content.rfind(b"\n") + 1]
    count = whole.count(b"\n")
    with ledger(content) as xlogdb:
        xlogdb.append(after)
        kept = before[: count + 1] if xlogdb.path.read_bytes().startswith(content + b"\n") else before[:count]
        assert list(xlogdb.entries()) == expected([*kept, *after])
