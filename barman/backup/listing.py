"""What a directory holds, kept so that a hundred thousand files need a few megabytes. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import overload

from barman.host.rsync import Entry

_ENCODING = ("utf-8", "surrogateescape")
_MODE = 0o7777
_DIRECTORY = 0o10000
_LINK = 0o20000


class Listing(Sequence[Entry]):
    """Entries in the order they were added; each is made anew when it is asked for."""

    __slots__ = ("_begins", "_modes", "_mtimes", "_names", "_sizes")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._names = bytearray()
        self._begins = array("Q", [0])
        self._sizes = array("Q")
        self._mtimes = array("q")
        # With one bit more for what it is.
        self._modes = array("L")
        for entry in entries:
            self.append(entry)

    def append(self, entry: Entry) -> None:
        """Add an entry."""
        self._names += entry.name.encode(*_ENCODING)
        self._begins.append(len(self._names))
        self._sizes.append(entry.size)
        self._mtimes.append(entry.mtime)
        self._modes.append(entry.mode | _DIRECTORY * entry.is_directory | _LINK * entry.is_link)

    def size(self, number: int) -> int:
        """Return the size of one entry, without making it."""
        return self._sizes[number]

    @overload
    def __getitem__(self, number: int) -> Entry: ...

    @overload
    def __getitem__(self, number: slice) -> Selection: ...

    def __getitem__(self, number: int | slice) -> Entry | Selection:
        if isinstance(number, slice):
            return Selection(self, range(len(self))[number])
        if number < 0:
            number += len(self)
        mode = self._modes[number]
        name = self._names[self._begins[number] : self._begins[number + 1]].decode(*_ENCODING)
        return Entry(
            name,
            self._sizes[number],
            self._mtimes[number],
            mode & _MODE,
            is_directory=bool(mode & _DIRECTORY),
            is_link=bool(mode & _LINK),
        )

    def __len__(self) -> int:
        return len(self._sizes)


class Selection(Sequence[Entry]):
    """Some of the entries of a listing, in an order of their own."""

    __slots__ = ("_listing", "_numbers")

    def __init__(self, listing: Listing, numbers: Iterable[int] = ()) -> None:
        """numbers: of the entries in the listing."""
        self._listing = listing
        self._numbers = array("L", numbers)

    @property
    def bytes(self) -> int:
        """The size of all of them."""
        return sum(map(self._listing.size, self._numbers))

    def by_size(self) -> Selection:
        """Return the same, the largest first."""
        return Selection(self._listing, sorted(self._numbers, key=self._listing.size, reverse=True))

    def sizes(self) -> Iterable[int]:
        """Return their sizes, in order."""
        return map(self._listing.size, self._numbers)

    @overload
    def __getitem__(self, number: int) -> Entry: ...

    @overload
    def __getitem__(self, number: slice) -> Selection: ...

    def __getitem__(self, number: int | slice) -> Entry | Selection:
        if isinstance(number, slice):
            return Selection(self._listing, self._numbers[number])
        return self._listing[self._numbers[number]]

    def __len__(self) -> int:
        return len(self._numbers)


class Names(Sequence[str]):
    """The names of entries."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    @overload
    def __getitem__(self, number: int) -> str: ...

    @overload
    def __getitem__(self, number: slice) -> Names: ...

    def __getitem__(self, number: int | slice) -> str | Names:
        if isinstance(number, slice):
            return Names(self._entries[number])
        return self._entries[number].name

    def __len__(self) -> int:
        return len(self._entries)
