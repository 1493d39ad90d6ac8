"""put-wal: receive WAL files on standard input and store them in the incoming directory. Hot.

The stream is a tar archive: files, then SHA256SUMS or MD5SUMS. Nothing is kept unless every file has the right sum.
Exit 0 means: all files are in the incoming directory under their names, or in the archive, durably. What cannot be
WAL of this cluster, or has a name that another content has already, goes to the errors directory, and the exit code
makes PostgreSQL keep its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from barman.config.hot import open_hot_server
from barman.errors import WalError
from barman.host import files
from barman.host.patience import Patience
from barman.host.pipe import widen
from barman.postgres.wal_names import is_wal_name
from barman.wal import accept
from barman.wal.hot_program import Messages, build_parser, run_program
from barman.wal.tar_stream import TarReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from barman.config.hot import HotServer
    from barman.wal.tar_stream import Member

_ALGORITHMS = {"SHA256SUMS": "sha256", "MD5SUMS": "md5"}
_SUM_LINE = re.compile(r"(?P<digest>[0-9a-fA-F]+) [ *](?:\./)?(?P<name>\S+)")
_LARGEST_SUMS = 1 << 20
_WORKERS = 4

PATIENCE_S = 300
"""A sender that is silent for so long is given up; its connection may look alive for two hours."""

REPORT = "BARMAN.report"
"""A global pax header of the stream, which other receivers ignore: tell on standard output which files are stored."""

STORED = "stored"
"""Begins the line about a file in that report; the rest is its name."""


def main(arguments: Sequence[str]) -> int:
    """Run `barman [GLOBAL OPTIONS] put-wal …`, without the program name; returns the exit code."""
    parser, command = build_parser(
        "put-wal", "Receive WAL files on standard input, as a tar archive with their checksums, and store them."
    )
    command.add_argument("server_name", metavar="SERVER", help="server that the files belong to")
    command.add_argument("-t", "--test", action="store_true", help="only tell whether WAL would be accepted")
    options = parser.parse_args(list(arguments))
    messages = Messages(os.environ, as_json=options.format == "json", quiet=options.quiet)

    def work() -> int:
        server = open_hot_server(options.config, os.environ, options.server_name, receives=True)
        if options.test:
            messages.info(f"Ready to accept WAL files for the server {server.name}")
            return 0
        messages.log_to(server.log_file, server.log_format)
        return receive(server, sys.stdin.buffer, messages)

    return messages.close(run_program(messages, work))


def receive(server: HotServer, stream: BinaryIO, messages: Messages) -> int:
    """Store the files of a stream; returns the exit code: 0, or 1 when any of them is refused.

    WalError if the stream is damaged or a sum is missing or wrong: nothing was kept then. A file that is refused for
    what is in it, or for another file of its name, goes to the errors directory; it keeps nobody else out.
    """
    incoming = server.incoming_wals_directory
    files.make_directories(incoming)
    files.remove_stale_temporaries(incoming)
    widen(stream)
    with contextlib.ExitStack() as cleanup, contextlib.closing(_Examiner(server)) as examiner:
        with Patience(PATIENCE_S, _gone) as limit:
            transfer = _Receiver(incoming, cleanup, examiner, limit, messages).read(stream)
        _require_sums(transfer)
        refusals = examiner.refusals()
        stored = []
        for one in transfer.received:
            if refusals[one.name] is None:
                refusals[one.name] = accept.store(one, server)
            if refusals[one.name] is None:
                stored.append(one.name)
        files.fsync_directory(incoming)
        if transfer.wants_report:
            for name in stored:
                messages.info(f"{STORED} {name}")
        for one in transfer.received:
            _tell_refusal(one, refusals[one.name], server, messages)
    return 0 if len(stored) == len(transfer.received) else 1


class _Examiner:
    """Looks at the files and syncs those that are good, several at a time, while others are still on their way."""

    def __init__(self, server: HotServer) -> None:
        self._server = server
        self._cluster: accept.Cluster | None = None
        self._received: list[accept.Received] = []
        self._futures: list[Future[accept.Refusal | None]] = []
        self._pool: ThreadPoolExecutor | None = None

    def add(self, one: accept.Received) -> None:
        """Take a file that has come whole."""
        self._received.append(one)
        if len(self._received) > 1:
            self._begin()

    def refusals(self) -> dict[str, accept.Refusal | None]:
        """Return why not, by name, once all have been looked at. OSError if one cannot be made durable."""
        if self._pool is None:
            return {one.name: self._examine(one) for one in self._received}
        return {one.name: future.result() for one, future in zip(self._received, self._futures, strict=True)}

    def close(self) -> None:
        """Return when nobody looks at a file any more."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _begin(self) -> None:
        # Not for a single file: it would take longer to load than to work.
        from concurrent.futures import ThreadPoolExecutor

        if self._pool is None:
            self._pool = ThreadPoolExecutor(_WORKERS)
        # So that the cluster is looked up once.
        self._expected()
        self._futures += [self._pool.submit(self._examine, one) for one in self._received[len(self._futures) :]]

    def _examine(self, one: accept.Received) -> accept.Refusal | None:
        return accept.examine(one, self._server, self._expected())

    def _expected(self) -> accept.Cluster:
        if self._cluster is None:
            self._cluster = accept.expected_cluster(self._server)
        return self._cluster


def _tell_refusal(one: accept.Received, refusal: accept.Refusal | None, server: HotServer, messages: Messages) -> None:
    if refusal is None:
        return
    place = accept.set_aside(one, server.errors_directory, refusal.kind)
    if refusal.kind == accept.CONFLICT:
        hint = "Find out which cluster archives here besides the right one."
        problem = f"is already there: {refusal.reason}"
    else:
        hint, problem = "Look at this file on the PostgreSQL host.", f"is not accepted: {refusal.reason}"
    messages.error(f"WAL file {one.name} of server '{server.name}' {problem}; the new one is in {place}", hint)


class _Transfer(NamedTuple):
    """What a stream held. sums: by algorithm and name. wants_report: the sender wants to hear what is stored."""

    received: list[accept.Received]
    sums: dict[str, Mapping[str, str]]
    wants_report: bool


def _gone() -> WalError:
    return WalError(f"nothing has come for {PATIENCE_S} seconds: the sender is gone, or stuck")


class _Receiver:
    """Writes the files of a stream to temporary ones."""

    def __init__(
        self,
        incoming: str,
        cleanup: contextlib.ExitStack,
        examiner: _Examiner,
        limit: Patience,
        messages: Messages,
    ) -> None:
        """cleanup: removes the temporary files. limit: until the next piece must have come."""
        self._incoming = incoming
        self._cleanup = cleanup
        self._examiner = examiner
        self._limit = limit
        self._messages = messages

    def read(self, stream: BinaryIO) -> _Transfer:
        """Read the stream to its end. WalError if it is no tar archive, or holds what it may not hold."""
        received: dict[str, accept.Received] = {}
        sums: dict[str, Mapping[str, str]] = {}
        archive = TarReader(stream)
        is_empty = True
        while (member := archive.next_member()) is not None:
            is_empty = False
            name = _require_name(member)
            if name in _ALGORITHMS:
                sums[_ALGORITHMS[name]] = _parse_sums(_read_text(archive, member), name, self._messages)
            elif name in received:
                raise WalError(f"the stream holds {name} twice")
            else:
                received[name] = self._extract(archive, member, os.path.join(self._incoming, name))
                self._examiner.add(received[name])
        if is_empty:
            raise WalError("the stream is not a complete tar archive: it is empty")
        # The sender must be able to write to the end.
        archive.drain()
        if not received:
            raise WalError("the stream holds no WAL file")
        return _Transfer(list(received.values()), sums, REPORT in archive.headers)

    def _extract(self, archive: TarReader, member: Member, path: str) -> accept.Received:
        temporary, file = files.open_temporary(path)
        self._cleanup.callback(_discard, temporary, file)
        digest = hashlib.sha256()
        written = 0

        def take(piece: memoryview) -> None:
            nonlocal written
            self._limit.renew()
            digest.update(piece)
            file.write(piece)
            # Little is left for the fsync, for which the sender waits, to do.
            files.start_flush(file.fileno(), written, len(piece))
            written += len(piece)

        with files.naming(temporary):
            archive.copy(member.size, take)
            file.flush()
            os.fchmod(file.fileno(), 0o600 | member.mode & 0o077)
            os.utime(file.fileno(), (member.mtime, member.mtime))
        return accept.Received(os.path.basename(path), temporary, file, {"sha256": digest.hexdigest()})


def _require_name(member: Member) -> str:
    name = member.name.removeprefix("./")
    if not member.is_file:
        raise WalError(f"{name!r} in the stream is not a regular file")
    if name not in _ALGORITHMS and not is_wal_name(name):
        raise WalError(f"{name!r} in the stream is not the name of a WAL file")
    return name


def _read_text(archive: TarReader, member: Member) -> str:
    if member.size > _LARGEST_SUMS:
        raise WalError(f"{member.name} in the stream has {member.size} bytes")
    parts: list[bytes] = []
    archive.copy(member.size, lambda piece: parts.append(bytes(piece)))
    return b"".join(parts).decode("utf-8", "replace")


def _parse_sums(text: str, file: str, messages: Messages) -> Mapping[str, str]:
    sums = {}
    for line in text.splitlines():
        match = _SUM_LINE.fullmatch(line.strip())
        if match is None:
            messages.warning(f"{file}: not a checksum: {line!r}")
        else:
            sums[match["name"]] = match["digest"].lower()
    return sums


def _discard(temporary: str, file: BinaryIO) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    file.close()


def _require_sums(transfer: _Transfer) -> None:
    algorithm = "md5" if "md5" in transfer.sums else "sha256"
    expected = transfer.sums.get(algorithm, {})
    names = {one.name for one in transfer.received}
    for name in expected:
        if name not in names:
            raise WalError(f"the stream holds a checksum of {name} but not the file")
    for one in transfer.received:
        if one.name not in expected:
            raise WalError(f"the stream holds {one.name} but not its checksum")
        if one.digest(algorithm) != expected[one.name]:
            raise WalError(f"WAL file {one.name} was damaged on the way: wrong {algorithm} checksum")
