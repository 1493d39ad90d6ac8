"""Files that share their blocks until one of them is written to (XFS, Btrfs).

Source: Linux, ioctl_ficlone(2), filesystems/fiemap.rst; numbers of requests: uapi/linux/fs.h.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING

from barman.host.files import naming, temporary_name

if TYPE_CHECKING:
    from barman.host.files import AnyPath

_FICLONE = 0x40049409
_FS_IOC_FSGETXATTR = 0x801C581F
_FS_IOC_FSSETXATTR = 0x401C5820
_COWEXTSIZE = 0x00010000
# Flags, extent size, number of extents, project, extent size of copies on write.
_ATTRIBUTES = struct.Struct("=IIIII8x")
_FS_IOC_FIEMAP = 0xC020660B
_SYNC = 1
_LAST = 0x0001
_SHARED = 0x2000
_END = (1 << 64) - 1
# Start, length, flags, extents found, extents there is room for; then of each extent start, place, length, flags.
_MAP = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQ16xI12x")
_EXTENTS = 256
# The file systems say these where they cannot share, or not with that file.
_UNABLE = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM})


def clone(source: AnyPath, target: AnyPath) -> bool:
    """Make target, a new file, share all blocks of source; False if they cannot. OSError if target is there.

    Its mode and times are those of a new file. Whatever is written to one of them later, the other does not see.
    """
    with open(source, "rb", buffering=0) as reader, open(target, "xb", buffering=0) as writer, naming(target):
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
        else:
            _part_with_little(writer.fileno())
            return True
    os.unlink(target)
    return False


def _part_with_little(descriptor: int) -> None:
    """Have a write to shared blocks take new ones for just what is written, where the file system can be told so.

    XFS would take 128 KiB for every page, and give back what it did not need minutes later: a backup of a cluster with
    changes all over would want the whole cluster's room. Source: Linux, ioctl_xfs_fsgetxattr(2), fs_xflags.
    """
    with contextlib.suppress(OSError):
        told = bytearray(_ATTRIBUTES.size)
        fcntl.ioctl(descriptor, _FS_IOC_FSGETXATTR, told)
        flags, extent, count, project, _ = _ATTRIBUTES.unpack(told)
        block = os.fstatvfs(descriptor).f_frsize
        told = bytearray(_ATTRIBUTES.pack(flags | _COWEXTSIZE, extent, count, project, block))
        fcntl.ioctl(descriptor, _FS_IOC_FSSETXATTR, told)


def is_possible(directory: AnyPath) -> bool:
    """Whether files in this directory can share blocks, tried out. OSError if nothing can be written there."""
    names = [temporary_name(os.path.join(directory, "reflink")) for _ in range(2)]
    try:
        with open(names[0], "xb") as file:
            file.write(bytes(4096))
        return clone(*names)
    finally:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def shared_bytes(path: AnyPath) -> int:
    """Return how many bytes of a file lie in blocks that it shares with others; 0 where that cannot be told."""
    total = start = 0
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
        while True:
            told = bytearray(_MAP.size + _EXTENTS * _EXTENT.size)
            _MAP.pack_into(told, 0, start, _END - start, _SYNC, 0, _EXTENTS, 0)
            fcntl.ioctl(file.fileno(), _FS_IOC_FIEMAP, told)
            count = _MAP.unpack_from(told)[3]
            extents: list[tuple[int, int, int, int]] = list(_EXTENT.iter_unpack(told[_MAP.size :]))[:count]
            total += sum(length for _, _, length, flags in extents if flags & _SHARED)
            if not extents or extents[-1][3] & _LAST:
                size: int = os.fstat(file.fileno()).st_size
                return min(total, size)
            start = extents[-1][0] + extents[-1][2]
    return 0
