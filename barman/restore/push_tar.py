"""Unpacking the tarballs of a backup on another host, straight from the catalogue: nothing is staged anywhere."""

from __future__ import annotations

import contextlib
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, cast

from barman.errors import CatalogError, CommandError, Encrypted, Permanent
from barman.host.transfer import copy_stream
from barman.restore.exclusions import CONTROL_FILE, EMPTIED, HELD_BACK, LEFT_OUT
from barman.restore.extract import Tailed, open_tarball
from barman.storage.compress.codecs import LONGEST_MAGIC, identify, open_reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from barman.host.session import Session
    from barman.host.transfer import Flow
    from barman.host.workers import Workers
    from barman.restore.placements import Placement
    from barman.restore.plan import Tarball
    from barman.restore.remote_host import RemoteFacts
    from barman.storage.encrypt.gpg import Decryption

# What there is to decompress with on the other host, by the name of the algorithm.
_PROGRAMS: Mapping[str, str] = {"gzip": "gzip", "bzip2": "bzip2", "xz": "xz", "lz4": "lz4", "zstd": "zstd"}


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
    ) -> None:
        """facts: with GNU tar. decryption: for encrypted tarballs, which are sent decrypted."""
        self._decryption = decryption
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
                algorithm = identify(file.peek(LONGEST_MAGIC))
                program = _PROGRAMS.get(algorithm or "")
                plain = cast("BinaryIO", file)
                if program and program in self._facts.programs:
                    self._untar(plain, tarball, directory, [f"--use-compress-program={program}", *options], lane)
                else:
                    reader = Tailed(open_reader(plain, algorithm) if algorithm else plain)
                    self._untar(reader, tarball, directory, options, lane)
        except Encrypted:
            raise
        except (Permanent, EOFError) as error:
            raise CatalogError(f"{tarball} is damaged: {error}") from error

    def _untar(
        self, reader: BinaryIO | Tailed, tarball: Path, directory: Path, options: Sequence[str], lane: str
    ) -> None:
        words = ["env", "LC_ALL=C", "tar", "-x", "-p", "--no-same-owner", "-f", "-"]
        argv = [*words, *options, "-C", os.fspath(directory)]
        with self._fed(reader, tarball) as stdin:
            done = self._session.run(
                argv, stdin=stdin, timeout_s=None, check=False, lane=lane, on_tick=self._workers.check
            )
        if done.status != 0:
            raise _failed(tarball, self._session.name, done.stderr)

    @contextlib.contextmanager
    def _fed(self, reader: BinaryIO | Tailed, tarball: Path) -> Iterator[BinaryIO]:
        """Yield a pipe into which reader's content goes, at the pace of the flow; raises what reading it raises."""
        read_end, write_end = os.pipe()

        def feed() -> None:
            try:
                copy_stream(cast("BinaryIO", reader), write_end, self._flow, target=os.fspath(tarball))
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
