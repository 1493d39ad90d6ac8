"""Listings of many files."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from barman.backup.listing import Listing, Names
from barman.host.rsync import Entry

_NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.binary(max_size=9).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)
_ENTRIES = st.builds(
    lambda kind, name, size, mtime, mode: Entry(name, size, mtime, mode, kind == "d", kind == "l"),
    st.sampled_from("-dl"),
    _NAMES,
    st.integers(0, 1 << 50),
    st.integers(-(1 << 40), 1 << 40),
    st.integers(0, 0o7777),
)


@given(entries=st.lists(_ENTRIES))
def test_it_holds_what_was_put_in(entries):
    listing = Listing(entries)
    assert list(listing) == entries
    assert list(listing[::-1]) == entries[::-1]
    assert list(Names(listing)) == [entry.name for entry in entries]
    assert [listing[number] for number in range(-len(entries), 0)] == entries


@given(entries=st.lists(_ENTRIES, max_size=20))
def test_a_selection_can_be_ordered_and_cut(entries):
    every = Listing(entries)[:]
    ordered = every.by_size()
    assert sorted(ordered) == sorted(entries)
    assert list(ordered.sizes()) == sorted((entry.size for entry in entries), reverse=True)
    assert [*ordered[:3], *ordered[3:]] == list(ordered)
    assert ordered.bytes == every.bytes == sum(entry.size for entry in entries)


def test_a_hundred_thousand_files_need_a_few_megabytes():
    tracemalloc.start()
    try:
        listing = Listing(
            Entry(f"base/16384/{number}", 8192 * number, 1_700_000_000 + number, 0o600, is_directory=False)
            for number in range(100_000)
        )
        every = listing[:].by_size()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(every) == 100_000
    assert held < 10 << 20
