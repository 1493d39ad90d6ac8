"""The spool of barman-wal-archive: which files the Barman host has stored durably, before PostgreSQL asks. Hot-safe.

A record is a file NAME.sent with one line: destination, device, inode, size, time of last modification and of last
change of status. All of them must be those of the file PostgreSQL asks about. The kernel sets the last one whenever
content, name or owner changes, and nobody can set it back: a file that was written again, renamed, restored, or belongs
to another cluster has another line. So a record that is lost or wrong costs a transfer, never a segment, and records
need not survive a crash. The line is what `stat -c "DESTINATION %d %i %s %.9Y %.9Z"` prints, for shells.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from barman.client.spool import make_own_directory
from barman.postgres.wal_names import is_wal_name

if TYPE_CHECKING:
    from collections.abc import Collection

_SUFFIX = ".sent"
_SECOND_NS = 10**9
# The kernel counts the times of files in steps of up to 10 ms; some file systems store only seconds.
_STEP_NS = 100_000_000
_COARSE_STEP_NS = 3 * _SECOND_NS


class Acknowledgements:
    """What one destination has acknowledged to this host."""

    def __init__(self, directory: str, destination: str) -> None:
        """directory: it need not exist yet. destination: one word or several, without a line break."""
        self._directory = directory
        self._destination = destination

    def has(self, path: str) -> bool:
        """Whether the file at path, just as it is, has been acknowledged."""
        try:
            if os.lstat(self._directory).st_uid not in (os.geteuid(), 0):
                return False
            with open(self._record(path), encoding="utf-8") as record:
                if os.fstat(record.fileno()).st_uid not in (os.geteuid(), 0):
                    return False
                return record.read() == self.describe(os.lstat(path))
        except (OSError, UnicodeDecodeError):
            return False

    def add(self, path: str, sent: os.stat_result, read_at_ns: int) -> None:
        """Remember that the file at path was acknowledged, unless it is not quite sure which content that was.

        sent: its status when it was opened, at read_at_ns. OSError if the record cannot be written.
        """
        with contextlib.suppress(FileNotFoundError):
            if not _is_certain(sent, read_at_ns) or self.describe(os.lstat(path)) != self.describe(sent):
                return
            # Not atomic, as half a record says nothing.
            with open(self._record(path), "w", encoding="utf-8") as record:
                record.write(self.describe(sent))

    def create(self) -> None:
        """Create the directory, not its parents; ClientError if it cannot be used or belongs to somebody else."""
        make_own_directory(self._directory)

    def keep_only(self, names: Collection[str]) -> None:
        """Forget all WAL files but these. Whatever else there is in the directory stays."""
        for name in os.listdir(self._directory):
            wal_name = name.removesuffix(_SUFFIX)
            if wal_name != name and is_wal_name(wal_name) and wal_name not in names:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self._directory, name))

    def describe(self, status: os.stat_result) -> str:
        """Return the record of a file with this status."""
        times = (f"{ns // _SECOND_NS}.{ns % _SECOND_NS:09d}" for ns in (status.st_mtime_ns, status.st_ctime_ns))
        return " ".join((self._destination, str(status.st_dev), str(status.st_ino), str(status.st_size), *times)) + "\n"

    def _record(self, path: str) -> str:
        return os.path.join(self._directory, os.path.basename(path) + _SUFFIX)


def _is_certain(status: os.stat_result, read_at_ns: int) -> bool:
    """Whether a change after the file was read must have given it another time than it had."""
    is_coarse = status.st_ctime_ns % _SECOND_NS == 0
    age_ns = read_at_ns - status.st_ctime_ns
    return stat.S_ISREG(status.st_mode) and age_ns > (_COARSE_STEP_NS if is_coarse else _STEP_NS)
