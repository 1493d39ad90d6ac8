"""xlog.db in every shape a file of another program, or a crash, may have."""

from __future__ import annotations

import contextlib
import errno
import os
import resource

import pytest

from barman.catalog import xlog_reading as module
from barman.catalog.xlogdb import WalEntry, WalTotals, XlogDb
from barman.errors import CatalogError


def name(number, timeline=1):
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def entry(number, size=100, timeline=1, **fields):
    return WalEntry(name(number, timeline), size, 1795239296.5 + number, **fields)


def line(number, size=100, timeline=1):
    return f"{name(number, timeline)}\t{size}\t{1795239296.5 + number}\tNone\tNone\n"


LABEL = f"{name(3)}.00000028.backup\t7\t1795239300.1\tgzip\tNone\n"
HISTORY = "00000002.history\t42\t1795239300.2\tNone\tgpg\n"
PARTIAL = f"{name(9)}.partial\t5\t1795239300.3\tNone\tNone\n"


class Lock:
    """Counts how often it is taken, and notices when it is taken twice."""

    def __init__(self):
        self.taken = 0
        self.held = False

    @contextlib.contextmanager
    def __call__(self):
        assert not self.held, "not reentrant"
        self.taken, self.held = self.taken + 1, True
        try:
            yield
        finally:
            self.held = False


@pytest.fixture
def lock():
    return Lock()


@pytest.fixture
def ledger(tmp_path, lock):
    return XlogDb(tmp_path / "wals" / "main-xlog.db", lock, lambda: ())


@pytest.fixture
def write(ledger):
    def write(text):
        ledger.path.parent.mkdir(exist_ok=True)
        ledger.path.write_bytes(text.encode() if isinstance(text, str) else text)

    return write


def names(entries):
    return [one.name for one in entries]


def test_what_is_appended_is_read(ledger):
    entries = [entry(1), entry(2, compression="zstd"), entry(3, encryption="gpg")]
    ledger.append(entries[:1])
    ledger.append(entries[1:])

    assert list(ledger.entries()) == entries
    assert ledger.path.read_text().splitlines()[1] == f"{name(2)}\t100\t1795239298.5\tzstd\tNone"


@pytest.mark.parametrize("mtime", [1795239296.8242729, 1577836800.123456, 0.0])
def test_times_are_written_with_the_digits_they_need(ledger, mtime):
    ledger.append([WalEntry(name(1), 1, mtime)])

    assert next(ledger.entries()).mtime == mtime
    assert f"\t{mtime}\t" in ledger.path.read_text()


def test_every_number_of_fields_is_read(ledger, write):
    write(f"{name(1)}\t5\t1.5\n{name(2)} 6 2.5 gzip\n{name(3)}\t7\t3.5\tbzip2\tgpg\n")

    assert list(ledger.entries()) == [
        WalEntry(name(1), 5, 1.5),
        WalEntry(name(2), 6, 2.5, "gzip"),
        WalEntry(name(3), 7, 3.5, "bzip2", "gpg"),
    ]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param("\n", id="blank line"),
        pytest.param("   \t \n", id="white space"),
        pytest.param("junk\n", id="one word"),
        pytest.param("not-a-wal 1 2 None None\n", id="no WAL name"),
        pytest.param(f"{name(5)}\tmany\t1\tNone\tNone\n", id="size no number"),
        pytest.param(f"{name(5)}\t1\t1\tNone\tNone\tNone\n", id="six fields"),
        pytest.param(f"{name(5)}\t1\n", id="two fields"),
        pytest.param("\0" * 100 + "\n", id="zeroes"),
        pytest.param(b"\xff\xfe\n".decode("latin-1"), id="bytes"),
    ],
)
def test_a_broken_line_stops_nobody(ledger, write, broken):
    write((line(1) + broken + line(7)).encode("latin-1"))

    assert list(ledger.entries()) == [entry(1), entry(7)]
    assert ledger.totals([(name(0), name(9))])[0].files == 2
    assert set(ledger.get([name(1), name(7)])) == {name(1), name(7)}


def test_a_file_whose_time_cannot_be_read_counts_all_the_same(ledger, write):
    write(f"{name(1)}\t5\t1.2.3\tNone\tNone\n{name(2)}\t5\tnow\tNone\n")

    assert list(ledger.entries()) == [WalEntry(name(1), 5, 0.0), WalEntry(name(2), 5, 0.0)]


def test_a_line_that_follows_zeroes_directly_is_read(ledger, write):
    write(line(1).encode() + b"\0" * 50 + line(2).encode())

    assert list(ledger.entries()) == [entry(1), entry(2)]


@pytest.mark.parametrize(
    ("tail", "whole"),
    [
        pytest.param("", False, id="nothing"),
        pytest.param(line(2)[:-1], True, id="only the newline missing"),
        pytest.param(line(2)[:-3], False, id="torn last word"),
        pytest.param(line(2)[:30], False, id="torn size"),
        pytest.param(line(2)[:10], False, id="torn name"),
        pytest.param("\0" * 4096, False, id="zeroes"),
    ],
)
def test_a_torn_end_is_not_read_and_repaired_by_the_next_append(ledger, write, tail, whole):
    write(line(1) + tail)
    expected = [entry(1), entry(2)] if whole else [entry(1)]
    assert list(ledger.entries()) == expected

    ledger.append([entry(3)])

    assert list(ledger.entries()) == [*expected, entry(3)]
    assert ledger.path.read_text() == "".join(map(line, (1, 2, 3) if whole else (1, 3)))


def test_a_file_that_is_only_a_torn_line_is_repaired(ledger, write):
    write(line(1)[:20])

    assert list(ledger.entries()) == []
    ledger.append([entry(1)])
    assert ledger.path.read_text() == line(1)


def test_lines_out_of_order_and_double_are_read_in_order_and_once(ledger, write):
    write(line(5) + line(3, 1) + LABEL + HISTORY + line(1) + line(4) + line(3, 2) + line(5))

    assert names(ledger.entries()) == [
        name(1), name(3), f"{name(3)}.00000028.backup", name(4), name(5), "00000002.history",
    ]  # fmt: skip
    assert ledger.get([name(3)])[name(3)].size == 2
    assert ledger.totals([(name(1), name(3)), (name(4), name(9)), (name(6), name(9))]) == [
        WalTotals(2, 102, entry(1), entry(3, 2)),
        WalTotals(2, 200, entry(4), entry(5)),
        WalTotals(),
    ]


def test_order_and_doubles_do_not_matter_across_chunks(ledger, write, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 200)
    numbers = [5, 9, 1, 2, 12, 11, 3, 30, 4, 31, 8, 9, 32, 7, 6, 5, 33, 34]
    write("".join(line(number, size=index) for index, number in enumerate(numbers)))
    last = {number: index for index, number in enumerate(numbers)}

    assert [(one.name, one.size) for one in ledger.entries()] == [(name(n), last[n]) for n in sorted(last)]
    assert [one.name for one in ledger.entries(name(3), name(9))] == [name(n) for n in range(3, 10)]
    (total,) = ledger.totals([(name(3), name(11))])
    inside = [n for n in last if 3 <= n <= 11]
    assert (total.files, total.size_bytes) == (len(inside), sum(last[n] for n in inside))
    assert (total.first.name, total.last.name) == (name(3), name(11))
    assert {key: one.size for key, one in ledger.get([name(5), name(9), name(12)]).items()} == {
        name(5): last[5], name(9): last[9], name(12): last[12],
    }  # fmt: skip
    assert ledger.newest_per_timeline() == {1: entry(34, size=last[34])}


def test_a_line_longer_than_a_chunk_is_passed_over(ledger, write, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 200)
    write(line(1) + "x" * 1000 + "\n" + line(2))

    assert list(ledger.entries()) == [entry(1), entry(2)]


def test_totals_count_segments_only(ledger, write):
    write(line(3) + LABEL + PARTIAL + HISTORY + line(10))

    assert ledger.totals([(name(1), name(20))]) == [WalTotals(2, 200, entry(3), entry(10))]


def test_the_newest_segment_of_each_timeline_is_found(ledger, write):
    write(line(3) + line(7) + LABEL + PARTIAL + HISTORY + line(7, timeline=2) + line(5, timeline=2) + line(6))

    assert ledger.newest_per_timeline() == {1: entry(7), 2: entry(7, timeline=2)}
    assert ledger.history_names() == ["00000002.history"]


def test_many_names_are_got_at_once(ledger):
    ledger.append([entry(number) for number in range(100)])

    found = ledger.get([name(number) for number in range(0, 200, 10)])

    assert sorted(found) == [name(number) for number in range(0, 100, 10)]
    assert ledger.get([]) == {}


@pytest.mark.parametrize(("timeline", "empty"), [(0, False), (2, False), (3, True)])
def test_emptiness_can_be_asked_from_a_timeline_on(ledger, write, timeline, empty):
    write(line(1) + HISTORY)

    assert ledger.is_empty(from_timeline=timeline) is empty


def test_removed_lines_are_gone_and_the_others_unchanged(ledger, write):
    ledger.path.parent.mkdir()
    write(line(1) + line(2) + LABEL + "junk\n" + line(3) + HISTORY)
    mode = 0o640
    ledger.path.chmod(mode)

    ledger.remove([name(2), name(8)])
    ledger.remove([])

    assert ledger.path.read_text() == line(1) + LABEL + line(3) + HISTORY
    assert ledger.path.stat().st_mode & 0o777 == mode
    assert os.listdir(ledger.path.parent) == ["main-xlog.db"]


def test_removing_from_a_missing_ledger_is_nothing(ledger):
    ledger.remove([name(1)])

    assert not ledger.path.exists()


def test_a_reader_sees_the_file_as_it_was_when_it_began(ledger):
    ledger.append([entry(number) for number in range(10)])
    reading = ledger.entries()
    first = next(reading)

    ledger.remove([name(number) for number in range(5)])
    ledger.append([entry(20)])

    assert [first, *reading] == [entry(number) for number in range(10)]


def test_readers_take_no_lock(ledger, lock):
    ledger.append([entry(1)])
    before = lock.taken
    list(ledger.entries())
    ledger.totals([(name(1), name(2))])
    ledger.get([name(1)])
    ledger.newest_per_timeline()

    assert lock.taken == before


@pytest.mark.parametrize("content", [None, ""])
def test_a_missing_or_emptied_ledger_is_rebuilt_from_the_archive(tmp_path, lock, content):
    path = tmp_path / "main-xlog.db"
    if content is not None:
        path.write_text(content)
    ledger = XlogDb(path, lock, lambda: [entry(1), entry(2)])

    assert list(ledger.entries()) == [entry(1), entry(2)]
    assert path.read_text() == line(1) + line(2)


@pytest.mark.parametrize("content", [None, ""])
def test_the_first_append_to_a_missing_ledger_lists_the_whole_archive(tmp_path, lock, content):
    path = tmp_path / "main-xlog.db"
    if content is not None:
        path.write_text(content)
    ledger = XlogDb(path, lock, lambda: [entry(1), entry(2)])

    ledger.append([entry(2, compression="gzip")])

    assert list(ledger.entries()) == [entry(1), entry(2, compression="gzip")]


def test_reading_an_archive_without_wal_makes_an_empty_ledger(ledger):
    assert list(ledger.entries()) == []
    assert ledger.path.read_bytes() == b""


def test_a_rebuild_keeps_what_only_the_old_ledger_knew(tmp_path, lock):
    path = tmp_path / "main-xlog.db"
    path.write_text(f"{name(1)}\t9\t1.5\tzstd\tgpg\n{name(2)}\t9\t1.5\tzstd\tNone\njunk\n")
    found = [WalEntry(name(1), 9, 1.5, None, "gpg"), WalEntry(name(2), 9, 1.5), WalEntry(name(3), 9, 1.5, None, "gpg")]
    ledger = XlogDb(path, lock, lambda: found)

    rebuilt: list[WalEntry] = []
    ledger.rebuild(rebuilt.append)

    assert rebuilt == [found[0]._replace(compression="zstd"), *found[1:]]
    assert list(ledger.entries()) == rebuilt


def test_a_rebuild_that_fails_leaves_the_old_ledger(tmp_path, lock):
    path = tmp_path / "main-xlog.db"
    path.write_text(line(1))

    def fail():
        yield entry(2)
        raise CatalogError("cannot read the archive")

    with pytest.raises(CatalogError):
        XlogDb(path, lock, fail).rebuild()
    assert path.read_text() == line(1)


@pytest.fixture
def no_space(monkeypatch):
    """Files cannot grow beyond a few bytes; the signal for it becomes the error EFBIG."""
    import signal

    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, old)


def test_an_append_without_space_leaves_nothing_behind(ledger, no_space):
    ledger.append([entry(1)])
    no_space(len(line(1)) + 10)

    with pytest.raises(CatalogError, match=r"cannot write the WAL catalogue .*main-xlog\.db"):
        ledger.append([entry(2)])
    assert ledger.path.read_text() == line(1)


def test_a_removal_without_space_leaves_the_old_ledger(ledger, no_space):
    ledger.append([entry(number) for number in range(3)])
    no_space(10)

    with pytest.raises(CatalogError, match="cannot write"):
        ledger.remove([name(1)])
    assert names(ledger.entries()) == [name(0), name(1), name(2)]


def test_a_ledger_that_cannot_be_read_is_named(tmp_path, lock):
    path = tmp_path / "main-xlog.db"
    path.mkdir()

    with pytest.raises(CatalogError, match=rf"cannot read .*main-xlog\.db: {os.strerror(errno.EISDIR)}"):
        list(XlogDb(path, lock, lambda: ()).entries())


def test_broken_lines_are_told_once_per_reading(ledger, write, caplog):
    write(line(1) + "junk\njunk\n" + line(2))

    list(ledger.entries())

    assert [record.getMessage() for record in caplog.records] == [f"{ledger.path}: passed over 2 broken lines"]


def test_a_file_cut_short_while_it_is_read_ends_there(ledger):
    many = [entry(number) for number in range(3000)]
    ledger.append(many)
    reading = ledger.entries()
    first = next(reading)
    os.truncate(ledger.path, 0)

    assert many[: len(rest := [first, *reading])] == rest


def test_a_file_cut_short_while_its_totals_are_summed_ends_there(ledger, monkeypatch):
    ledger.append([entry(number) for number in range(3000)])
    parse = module.parse_chunk

    def parse_and_cut(chunk):
        os.truncate(ledger.path, 0)
        return parse(chunk)

    monkeypatch.setattr(module, "parse_chunk", parse_and_cut)
    (total,) = ledger.totals([(name(0), name(2999))])

    assert 0 < total.files < 3000


def test_sorting_keeps_the_last_line_of_a_name_and_writes_nothing_that_is_sorted(ledger, write, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 200)
    numbers = [5, 9, 1, 2, 12, 11, 3, 9, 8, 9]
    write("".join(line(number, size=index) for index, number in enumerate(numbers)))
    last = {number: index for index, number in enumerate(numbers)}

    ledger.sort()

    assert ledger.path.read_text() == "".join(line(number, size=last[number]) for number in sorted(last))
    before = ledger.path.stat().st_ino
    ledger.sort()
    assert ledger.path.stat().st_ino == before
