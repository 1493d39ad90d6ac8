"""Calling rsync: command lines, what it prints, and what it complains about. Pure.

Source of options, exit codes and formats: rsync(1) and rsync's sources of messages, 3.1 to 3.5.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTIAL_TRANSFER = 23
VANISHED = 24
# How many files to name to an rsync that reads from another host. Since 3.2.5 it compares every name that it is sent
# with all that were asked for, one by one: of 100 000 it would take a minute for that alone. Source: rsync, exclude.c,
# implied_filter_list.
MOST_NAMES = 5000

# What every line about a file begins with; everything else rsync says is a message.
_MARK = "=="
# With %b in it the line comes after the file, not before; its name the file may get a moment later. Source: rsync,
# options.c, log_before_transfer; receiver.c.
_COPIED = f"--out-format={_MARK}%b %l %n"
_COPIED_LINE = re.compile(r"==\d+ (\d+) (.*)", re.DOTALL)
_LISTED = re.compile(r"==(.)(.)\S* ([rwxsStT-]{9}) (\d+) (\d{4})/(\d\d)/(\d\d)-(\d\d):(\d\d):(\d\d) (.*)", re.DOTALL)
_ESCAPED = re.compile(rb"\\#([0-7]{3})")
# In seconds; both ends look at it. A host that is frozen, or a disk, would keep us forever.
_PATIENCE = "--timeout=600"
_WILD = re.compile(r"[*?\[]")

# A file that was there a moment ago. The server may remove any file at any time.
_GONE = re.compile(r'file has vanished: |.*link_stat ".*" failed: No such file or directory|directory has vanished: ')
# A file that became shorter while it was read, or changed between being compared and being read: tried again.
_CHANGED = re.compile(
    r"(?:rsync: )?(?:\[\w+\] )?read errors mapping|(?:WARNING|ERROR): .* failed verification -- update"
)
_NO_REFERENT = re.compile(r"symlink has no referent: ")
# What an old rsync says, or one that talks to something else.
_FOREIGN = re.compile(r"unknown option|protocol version mismatch|requires protocol version|error in rsync protocol")
_FORBIDDEN = re.compile(r"Permission denied \(13\)")
# What a shell says of a program that is not there.
_NOT_FOUND = 127
# What says nothing by itself.
_NOISE = re.compile(
    r"rsync (?:error|warning): |rsync: (?:\[\w+\] )?connection unexpectedly closed|IO error encountered"
    r"|skipping non-regular file|created directory|Warning: |\s*$"
)


class Entry(NamedTuple):
    """A file or directory as rsync lists it. name: relative to what was listed, "." that itself. mtime: whole seconds.

    size: 0 for directories.
    """

    name: str
    size: int
    mtime: int
    mode: int
    is_directory: bool
    is_link: bool = False


class Copied(NamedTuple):
    """A file that has been copied. name: relative to where it was copied from and to."""

    size: int
    name: str


class Source(NamedTuple):
    """A directory to read from, or to write to. shell: the remote shell's command line; None: it is on this host."""

    directory: str
    shell: str | None

    @property
    def location(self) -> str:
        """The directory as rsync wants it; the host stands in the shell's command line."""
        return f"{'' if self.shell is None else ':'}{self.directory}"

    @property
    def options(self) -> list[str]:
        """What makes rsync go there; names travel beside the command line, not on it."""
        # Called --secluded-args since 3.2.6, which still knows this name.
        return [] if self.shell is None else ["--protect-args", f"--rsh={self.shell}"]


def list_argv(source: Source, filters: Sequence[str], *, follow: bool = True) -> list[str]:
    """Return the command that lists source with all below it, as parse_entry reads it.

    filters: --include= and --exclude= options. follow: links as what they lead to. To be run in the zone UTC.
    """
    # Nothing is there, and with --dry-run nothing will be: so everything counts as new, and is listed.
    nowhere = "/nonexistent/barman/"
    form = f"--out-format={_MARK}%i %B %l %M %n"
    options = ["--dry-run", "--recursive", _links(follow=follow), "--perms", "--times", "--8-bit-output", form]
    return ["rsync", *options, *source.options, *filters, f"{source.location}/", nowhere]


def copy_argv(  # noqa: PLR0913  one keyword per choice of the command line
    source: Source,
    target: str,
    *,
    scratch: str,
    basis: str | None = None,
    compare: bool = False,
    link: bool = False,
    bandwidth_kib_s: int | None = None,
    compress: bool = False,
    follow: bool = True,
) -> list[str]:
    """Return the command that copies the files named on its standard input, each ended by a zero byte.

    Every file is written under another name in scratch, a directory of the same file system, and takes its place when
    it is whole: a file that is there is never written into. basis: a directory with older versions of the files, of
    which only what changed is transferred. compare: do not trust equal sizes and times, compare contents. link: where
    a file is equal to that in basis make it a link to that. follow: copy what links lead to, not the links.
    """
    options = [_links(follow=follow), "--perms", "--times", "--ignore-missing-args", "--no-implied-dirs"]
    options += ["--from0", "--files-from=-", f"--temp-dir={scratch}"]
    options += ["--8-bit-output", _COPIED]
    if basis is not None:
        options += [f"--{'link' if link else 'copy'}-dest={basis}", *(["--checksum"] if compare else [])]
    if bandwidth_kib_s:
        options.append(f"--bwlimit={bandwidth_kib_s}")
    if compress:
        # Which codec, both ends agree on: zstd or lz4 where both have them. More than the first level costs more time
        # than it saves.
        options += ["--compress", "--compress-level=1"]
    return ["rsync", *options, *source.options, f"{source.location}/", f"{target}/"]


def update_argv(
    source: Source, target: str, *, bandwidth_kib_s: int | None = None, compress: bool = False
) -> list[str]:
    """Return the command that makes the files named on its standard input, each ended by a zero byte, as they are now.

    What differs is written into the files that are in target, which must be nobody else's; a file that is not there is
    made. Equal times and sizes do not count.
    """
    options = ["--copy-links", "--perms", "--times", "--ignore-times", "--ignore-missing-args", "--no-implied-dirs"]
    # Blocks as PostgreSQL writes them: what differs is not written together with its neighbours.
    options += ["--inplace", "--no-whole-file", "--block-size=8192"]
    options += ["--from0", "--files-from=-", "--8-bit-output", _COPIED]
    options += [f"--bwlimit={bandwidth_kib_s}"] * bool(bandwidth_kib_s) + [
        "--compress",
        "--compress-level=1",
    ] * compress
    return ["rsync", *options, *source.options, f"{source.location}/", f"{target}/"]


def push_argv(
    source: str,
    target: Source,
    *,
    whole: bool,
    compare: bool = False,
    follow: bool = False,
    bandwidth_kib_s: int | None = None,
    compress: bool = False,
) -> list[str]:
    """Return the command that sends the files, links and directories named on its standard input, each ended by a zero.

    Directories are sent without what is in them. target: where to; it is there. Every file takes its name when it is
    whole. whole: do not look for what a file has in common with one that is there. compare: do not trust equal sizes
    and times. follow: send what links lead to, for the owner's eyes only; otherwise links are sent as such. rsync ends
    when nothing moves for ten minutes.
    """
    options = [_links(follow=follow), "--perms", "--times", "--omit-dir-times", "--no-implied-dirs", _PATIENCE]
    options += ["--chmod=Du+rwx,F600" if follow else "--chmod=Du+rwx", "--from0", "--files-from=-", _COPIED]
    options += ["--whole-file"] * whole + ["--checksum"] * compare
    options += ["--compress", "--compress-level=1"] * compress + [f"--bwlimit={bandwidth_kib_s}"] * bool(
        bandwidth_kib_s
    )
    return ["rsync", *options, *target.options, f"{source}/", f"{target.location}/"]


def pull_argv(source: Source, target: str, filters: Sequence[str]) -> list[str]:
    """Return the command that copies what filters (--include=, --exclude=, --max-size=) let through, links as links.

    rsync ends when nothing moves for ten minutes.
    """
    options = ["--recursive", "--links", "--perms", "--times", "--prune-empty-dirs", _PATIENCE, _COPIED]
    return ["rsync", *options, *source.options, *filters, f"{source.location}/", f"{target}/"]


def _links(*, follow: bool) -> str:
    return "--copy-links" if follow else "--links"


def pattern_of(path: str) -> str:
    """Return path as a filter pattern that matches nothing else."""
    return re.sub(r"([*?\[\\])", r"\\\1", path) if _WILD.search(path) else path


def parse_entry(line: str) -> Entry | None:
    """Return the entry in a line of list_argv's output; None if the line is something else."""
    match = _LISTED.fullmatch(line)
    if match is None:
        return None
    kind, bits, size, name = match[2], match[3], int(match[4]), match[11]
    is_directory = kind == "d"
    year, month, day, hour, minute, second = (int(match[number]) for number in range(5, 11))
    moment = int(datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc).timestamp())
    return Entry(
        _unescape(name).rstrip("/") if is_directory else _unescape(name),
        0 if is_directory else size,
        moment,
        _mode(bits),
        is_directory,
        is_link=kind == "L",
    )


def parse_copied(line: str) -> Copied | None:
    """Return the file a line of copy_argv's, push_argv's or pull_argv's output tells of; None: it is a message."""
    match = _COPIED_LINE.fullmatch(line)
    return None if match is None else Copied(int(match[1]), _unescape(match[2]))


class Complaints:
    """What rsync said on its way, sorted; however much it says, little is kept."""

    def __init__(self) -> None:
        self.vanished = 0
        self.changed = 0
        self.dangling: list[str] = []
        self._errors: list[str] = []
        self._noise: list[str] = []

    def take(self, line: str) -> None:
        """Take a line that tells of no file."""
        if _GONE.match(line):
            self.vanished += 1
        elif _CHANGED.match(line):
            self.changed += 1
        elif _NO_REFERENT.match(line):
            self.dangling.append(line.partition(": ")[2].strip('"'))
        elif _NOISE.match(line):
            self._noise = [*self._noise, line][-5:]
        elif len(self._errors) < 100:
            self._errors.append(line)

    @property
    def error(self) -> str | None:
        """The first thing that is wrong, for a person; None if nothing is."""
        return self._errors[0].removeprefix("rsync: ") if self._errors else None

    def reason(self, status: int) -> str:
        """Return why rsync ended with this status, in one line."""
        said = self.error or next((line for line in self._noise if line.strip()), None)
        how = f"rsync was ended by signal {-status}" if status < 0 else f"rsync ended with exit status {status}"
        return how if said is None or status < 0 else f"{said} ({how})"

    def hint(self, status: int) -> str | None:
        """Return what to look at first, if there is anything to say."""
        if status == _NOT_FOUND:
            return "Is rsync installed there?"
        if any(map(_FOREIGN.search, (*self._errors, *self._noise))):
            return "rsync 3.1 or newer is needed on both hosts, and a login there that prints nothing by itself."
        if self.error is not None and _FORBIDDEN.search(self.error):
            return "Log in there as a user who may read every file, as the one that PostgreSQL runs as."
        return None

    def is_harmless(self, status: int) -> bool:
        """Whether with this status all is copied that still is there."""
        return status in (0, VANISHED) or (status == PARTIAL_TRANSFER and self.error is None and not self.changed)

    def is_worth_repeating(self, status: int) -> bool:
        """Whether only files are missing that changed while they were read."""
        return status == PARTIAL_TRANSFER and self.error is None and bool(self.changed)


def _mode(bits: str) -> int:
    mode = 0
    for number, letter in enumerate(bits):
        if letter in "rwxst":
            mode |= 0o400 >> number
        if letter in "sStT":
            mode |= (0o4000, 0o2000, 0o1000)[number // 3]
    return mode


def _unescape(name: str) -> str:
    if "\\#" not in name:
        return name
    raw = name.encode("utf-8", "surrogateescape")
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), raw).decode("utf-8", "surrogateescape")
