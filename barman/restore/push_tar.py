"""Unpacking the tarballs of a backup on another host, straight from the catalogue: nothing is staged anywhere."""

from __future__ import annotations

import contextlib
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, cast

from barman.errors import CatalogError, CommandError, Encrypted, Permanent
from barman.host.rsync_watch import Silence
from barman.host.transfer import copy_stream, write_all
from barman.progress import NoBar
from barman.restore.exclusions import CONTROL_FILE, EMPTIED, HELD_BACK, LEFT_OUT, MANIFEST
from barman.restore.extract import Tailed, open_tarball, unpacked
from barman.storage.compress.codecs import LONGEST_MAGIC, compress_stream, identify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from barman.host.session import Session
    from barman.host.transfer import Flow
    from barman.host.workers import Workers
    from barman.restore.job import Job, Layout
    from barman.restore.placements import Placement
    from barman.restore.plan import Tarball
    from barman.restore.push import There
    from barman.restore.remote_host import RemoteFacts
    from barman.storage.encrypt.gpg import Decryption

# What there is to decompress with on the other host, by the name of the algorithm.
_PROGRAMS: Mapping[str, str] = {"gzip": "gzip", "bzip2": "bzip2", "xz": "xz", "lz4": "lz4", "zstd": "zstd"}
# What packs plain tarballs for the way, the better first; more than the first level costs more time than it saves.
_PACKERS = ("zstd", "gzip")
_PACKING_LEVEL = 1
# A host that is frozen, or a disk, would keep us forever.
_PATIENCE_S = 600.0


class TarPusher:
    """Sends tarballs as they are, and has them unpacked there; where the program for that is missing, decompressed."""

    def __init__(
        self,
        session: Session,
        facts: RemoteFacts,
        workers: Workers[str],
        flow: Flow,
        *,
        decryption: Decryption | None = None,
        compress: bool = False,
    ) -> None:
        """facts: with GNU tar. decryption: for encrypted tarballs, which are sent decrypted.

        compress: what would travel plain, if there is a program there to decompress it.
        """
        self._decryption = decryption
        self._packer = next((name for name in _PACKERS if name in facts.programs), None) if compress else None
        self._session = session
        self._facts = facts
        self._workers = workers
        self._flow = flow

    def push(self, source: Path, tarballs: Sequence[Tarball], destination: Path, places: Sequence[Placement]) -> None:
        """Unpack the tarballs in source: the data directory's, and those of the tablespaces that go to places.

        The control file is held back. CatalogError, naming the tarball, when it is damaged or ends early.
        """
        locations = {placement.oid: placement.location for placement in places}
        tasks = []
        for tarball in tarballs:
            if tarball.oid is None:
                tasks.append(functools.partial(self._unpack, source / tarball.name, destination, _data_options(places)))
            elif tarball.oid in locations:
                tasks.append(functools.partial(self._unpack, source / tarball.name, locations[tarball.oid], ()))
        try:
            self._workers.work_off(tasks)
        except BaseException:
            self._flow.stop()
            raise

    def _unpack(self, tarball: Path, directory: Path, options: Sequence[str], lane: str) -> None:
        try:
            with open_tarball(tarball, self._decryption) as file:
                program = _PROGRAMS.get(identify(file.peek(LONGEST_MAGIC)) or "")
                if program and program in self._facts.programs:
                    self._untar(cast("BinaryIO", file), tarball, directory, [_unpacker(program), *options], lane)
                else:
                    reader = Tailed(unpacked(file))
                    packed = [_unpacker(self._packer)] if self._packer else []
                    self._untar(reader, tarball, directory, [*packed, *options], lane)
        except Encrypted:
            raise
        except (Permanent, EOFError) as error:
            raise CatalogError(f"{tarball} is damaged: {error}") from error

    def _untar(
        self, reader: BinaryIO | Tailed, tarball: Path, directory: Path, options: Sequence[str], lane: str
    ) -> None:
        words = ["env", "LC_ALL=C", "tar", "-x", "-p", "--no-same-owner", "-f", "-"]
        argv = [*words, *options, "-C", os.fspath(directory)]
        silence = Silence(_PATIENCE_S, what=f"cannot unpack {tarball} on {self._session.name}")

        def tick() -> None:
            self._workers.check()
            silence.tick()

        with self._fed(reader, tarball, silence) as stdin:
            done = self._session.run(argv, stdin=stdin, timeout_s=None, check=False, lane=lane, on_tick=tick)
        if done.status != 0:
            raise _failed(tarball, self._session.name, done.stderr)

    @contextlib.contextmanager
    def _fed(self, reader: BinaryIO | Tailed, tarball: Path, silence: Silence) -> Iterator[BinaryIO]:
        """Yield a pipe into which reader's content goes, at the pace of the flow; raises what reading it raises.

        silence: is broken by whatever goes.
        """
        read_end, write_end = os.pipe()

        def feed() -> None:
            source = _Heard(reader, silence)
            try:
                if self._packer is not None and isinstance(reader, Tailed):
                    packed = cast("BinaryIO", _Paced(write_end, self._flow))
                    compress_stream(cast("BinaryIO", source), packed, self._packer, _PACKING_LEVEL)
                else:
                    copy_stream(cast("BinaryIO", source), write_end, self._flow, target=os.fspath(tarball))
                if isinstance(reader, Tailed):
                    reader.require_end()
            except BrokenPipeError:
                # It ended, and its exit status says why.
                pass
            finally:
                os.close(write_end)

        with ThreadPoolExecutor(max_workers=1) as pool, open(read_end, "rb") as stdin:
            feeding = pool.submit(feed)
            try:
                yield stdin
            finally:
                # Nobody reads any more: what is still to come fails.
                stdin.close()
            feeding.result()


def unpack_there(job: Job, there: There, layouts: Sequence[Layout]) -> None:
    """Unpack backups, and send their manifests; the directories for them are there.

    The control file is held back. Errors: as of TarPusher.push.
    """
    total = sum((layout.source / tarball.name).stat().st_size for layout in layouts for tarball in layout.tarballs)
    with job.reporter.bar("Copying the base backup", total=total, unit="bytes") as bar:
        for layout in layouts:
            pusher = TarPusher(
                there.session,
                there.facts,
                there.pusher.workers,
                job.flow(bar),
                decryption=job.server.decryption,
                compress=job.settings.network_compression,
            )
            pusher.push(layout.source, layout.tarballs, layout.data, layout.places)
            if (layout.source / MANIFEST).exists():
                there.pusher.push_names(layout.source, layout.data, [MANIFEST], NoBar())


class _Heard:
    """Reads another file, and has everybody know that something moves."""

    def __init__(self, file: BinaryIO | Tailed, silence: Silence) -> None:
        self._file = file
        self._silence = silence

    def read(self, size: int) -> bytes:
        """Return up to size bytes."""
        self._silence.broken()
        return self._file.read(size)

    def readinto(self, buffer: memoryview) -> int:
        """Read into buffer; return how many bytes, 0 at the end."""
        self._silence.broken()
        size: int = self._file.readinto(buffer)  # type: ignore[union-attr]
        return size


class _Paced:
    """Writes to a descriptor at the pace of a flow."""

    def __init__(self, descriptor: int, flow: Flow) -> None:
        self._descriptor = descriptor
        self._flow = flow

    def write(self, data: bytes) -> int:
        """Write all of data."""
        write_all(self._descriptor, data)
        self._flow.passed(len(data))
        return len(data)


def _unpacker(program: str) -> str:
    return f"--use-compress-program={program}"


def _data_options(places: Sequence[Placement]) -> list[str]:
    """Return what leaves out what has no place in a restored data directory, and holds the control file back."""
    left_out = [*sorted(LEFT_OUT), *(f"{name}/*" for name in sorted(EMPTIED))]
    left_out += [f"pg_tblspc/{placement.oid}" for placement in places]
    options = ["--anchored", "--wildcards", "--wildcards-match-slash", "--no-ignore-case"]
    for pattern in left_out:
        options += [f"--exclude={pattern}", f"--exclude=./{pattern}"]
    return [*options, rf"--transform=s,^\(\./\)\?{CONTROL_FILE}$,{HELD_BACK},"]


def _failed(tarball: Path, host: str, said: str) -> CommandError | CatalogError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # tar ends with a line that says nothing.
    telling = [line for line in lines if "Error is not recoverable" not in line and "Exiting with failure" not in line]
    reason = next(iter(telling), "no reason given")
    if any(word in said for word in ("Unexpected EOF", "unexpected end", "crc error", "corrupt", "Data integrity")):
        return CatalogError(f"{tarball} is damaged: {reason}")
    return CommandError(f"cannot unpack {tarball} on {host}: {reason}")
