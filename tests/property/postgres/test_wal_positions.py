"""Laws of positions and names, at every segment size PostgreSQL has."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from barman.errors import WalError
from barman.postgres.lsn import format_lsn, parse_lsn
from barman.postgres.timelines import Branch, TimelineHistory, history_name, parse_history
from barman.postgres.wal_names import (
    WalKind,
    archive_directory,
    is_segment_name,
    is_wal_name,
    next_segment,
    parse_wal_name,
    previous_segment,
    segment_at,
    segment_before,
    segment_name,
    segment_number,
    segment_start,
    segments_between,
    segments_per_log,
    timeline_of,
)

SIZES = [1 << bits for bits in range(20, 31)]

lsns = st.integers(0, (1 << 64) - 1)
timelines = st.integers(1, (1 << 32) - 1)
sizes = st.sampled_from(SIZES)


@st.composite
def segments(draw, highest=None):
    """A segment size, and the name of a segment of it."""
    size = draw(sizes)
    number = draw(st.integers(0, (1 << 64) // size - 1 if highest is None else highest))
    return size, segment_name(draw(timelines), number, size)


@given(lsns)
def test_an_lsn_written_and_read_is_the_same(lsn):
    assert parse_lsn(format_lsn(lsn)) == lsn


@given(lsns)
def test_an_lsn_may_be_written_in_lower_case_and_with_zeros(lsn):
    assert parse_lsn(f"{lsn >> 32:08x}/{lsn & 0xFFFFFFFF:08x}") == lsn


@given(lsns, timelines, sizes)
def test_the_segment_at_a_position_holds_it(lsn, timeline, size):
    start = segment_start(segment_at(lsn, timeline, size), size)
    assert start <= lsn < start + size


@given(lsns.filter(bool), timelines, sizes)
def test_the_segment_before_a_position_holds_the_byte_before_it(lsn, timeline, size):
    assert segment_before(lsn, timeline, size) == segment_at(lsn - 1, timeline, size)


@given(timelines, sizes)
def test_before_the_first_position_is_the_first_segment(timeline, size):
    assert segment_before(0, timeline, size) == segment_at(0, timeline, size)


@given(segments())
def test_number_and_name_of_a_segment_are_inverse(case):
    size, name = case
    assert is_segment_name(name)
    assert segment_name(timeline_of(name), segment_number(name, size), size) == name


@given(segments())
def test_next_and_previous_segment_are_inverse(case):
    size, name = case
    assume(segment_number(name, size) < (1 << 64) // size - 1)
    following = next_segment(name, size)
    assert previous_segment(following, size) == name
    assert segment_start(following, size) == segment_start(name, size) + size
    assert name < following, "names sort as positions do"


@given(sizes, timelines)
def test_nothing_precedes_the_first_segment(size, timeline):
    with pytest.raises(WalError, match="precedes"):
        previous_segment(segment_name(timeline, 0, size), size)


@given(sizes, timelines)
def test_nothing_follows_the_last_segment(size, timeline):
    with pytest.raises(WalError, match="follows"):
        next_segment(segment_name(timeline, (1 << 64) // size - 1, size), size)


@given(sizes, timelines, st.integers(0, 1 << 32), st.integers(0, 40))
def test_the_segments_between_two_are_each_the_next_of_the_one_before(size, timeline, first, count):
    assume(first + count < (1 << 64) // size)
    names = list(
        segments_between(segment_name(timeline, first, size), segment_name(timeline, first + count, size), size)
    )
    assert len(names) == count + 1
    assert [next_segment(name, size) for name in names[:-1]] == names[1:]


@given(segments())
def test_nothing_is_between_a_segment_and_one_before_it(case):
    size, name = case
    assume(segment_number(name, size) > 0)
    assert list(segments_between(name, previous_segment(name, size), size)) == []


@given(sizes, timelines, st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
def test_a_segment_number_beyond_its_log_does_not_fit_the_size(size, timeline, log, seg):
    name = f"{timeline:08X}{log:08X}{seg:08X}"
    if seg < segments_per_log(size):
        assert segment_number(name, size) * size == (log << 32) + seg * size
    else:
        with pytest.raises(WalError, match="does not fit"):
            segment_number(name, size)


@given(segments(), st.integers(0, 0xFFFFFFFF), st.sampled_from(["", ".partial", "label"]), st.booleans())
def test_every_name_made_of_a_segment_is_read_back(case, offset, suffix, lower):
    _, segment = case
    text = segment + (f".{offset:08X}.backup" if suffix == "label" else suffix)
    given_text = text.replace(segment, segment.lower()) if lower else text
    wal = parse_wal_name(given_text)
    kind = {"": WalKind.SEGMENT, ".partial": WalKind.PARTIAL, "label": WalKind.LABEL}[suffix]
    assert wal == (text, kind, timeline_of(segment), segment)
    assert archive_directory(wal.text) == segment[:16]


@given(timelines)
def test_a_history_file_belongs_to_no_segment(timeline):
    wal = parse_wal_name(history_name(timeline))
    assert wal == (history_name(timeline), WalKind.HISTORY, timeline, None)
    assert archive_directory(wal.text) == ""


@given(st.text())
def test_any_text_is_a_wal_name_or_refused(text):
    if is_wal_name(text):
        assert parse_wal_name(parse_wal_name(text).text) == parse_wal_name(text)
    else:
        with pytest.raises(WalError):
            parse_wal_name(text)


@st.composite
def histories(draw):
    path = sorted(draw(st.sets(st.integers(1, 1000), min_size=1, max_size=6)))
    switches = sorted(draw(st.lists(st.integers(1, 1 << 40), min_size=len(path) - 1, max_size=len(path) - 1)))
    branches = tuple(Branch(t, lsn, "no recovery target specified") for t, lsn in zip(path, switches, strict=False))
    return TimelineHistory(path[-1], branches)


@given(histories())
def test_a_history_written_and_read_is_the_same(history):
    text = "".join(f"{b.timeline}\t{format_lsn(b.switch_lsn)}\t{b.reason}\n" for b in history.branches)
    assert parse_history(text, history.timeline) == history


@given(histories(), sizes, st.integers(0, 1 << 40), st.integers(0, 30))
def test_recovery_reads_each_position_once_and_never_goes_back_to_an_older_timeline(history, size, first, count):
    names = list(history.segments(first, first + count * size, size))
    numbers = [segment_number(name, size) for name in names]
    assert numbers == list(range(first // size, (first + count * size) // size + 1))
    assert [timeline_of(name) for name in names] == sorted(timeline_of(name) for name in names)


@given(histories(), sizes)
def test_the_segment_a_timeline_begins_in_is_read_from_the_newest_timeline_that_begins_there(history, size):
    for branch in history.branches:
        number = branch.switch_lsn // size
        begun = [b.timeline for b in history.branches if b.switch_lsn // size <= number]
        expected = history.path[history.path.index(begun[-1]) + 1]
        assert history.timeline_of_segment(number, size) == expected
