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
import tarfile
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from barman.config.hot import open_hot_server
from barman.errors import WalError
from barman.host import files
from barman.postgres.wal_names import is_wal_name
from barman.wal import accept
from barman.wal.hot_program import Messages, build_parser, run_program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barman.config.hot import HotServer

_ALGORITHMS = {"SHA256SUMS": "sha256", "MD5SUMS": "md5"}
_SUM_LINE = re.compile(r"(?P<digest>[0-9a-fA-F]+) [ *](?:\./)?(?P<name>\S+)")
_LARGEST_SUMS = 1 << 20
_WORKERS = 4

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
        server = open_hot_server(options.config, os.environ, options.server_name, inactive=False)
        if options.test:
            messages.info(f"Ready to accept WAL files for the server {server.name}")
            return 0
        messages.log_to(server.log_file, server.log_format)
        return receive(server, sys.stdin.buffer, messages)

    status = run_program(messages, work)
    messages.close()
    return status


def receive(server: HotServer, stream: BinaryIO, messages: Messages) -> int:
    """Store the files of a stream; returns the exit code: 0, or 1 when any of them is refused.

    WalError if the stream is damaged or a sum is missing or wrong: nothing was kept then. A file that is refused for
    what is in it, or for another file of its name, goes to the errors directory; it keeps nobody else out.
    """
    incoming = server.incoming_wals_directory
    files.make_directories(incoming)
    files.remove_stale_temporaries(incoming)
    with contextlib.ExitStack() as cleanup:
        transfer = _read_stream(stream, incoming, cleanup, messages)
        _require_sums(transfer)
        refusals = _examine_all(transfer.received, server)
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


def _examine_all(received: Sequence[accept.Received], server: HotServer) -> dict[str, accept.Refusal | None]:
    """Look at the files, and sync those that are good, several at a time; return why not, by name."""
    cluster = accept.expected_cluster(server)

    def examine(one: accept.Received) -> accept.Refusal | None:
        return accept.examine(one, server, cluster)

    if len(received) == 1:
        return {received[0].name: examine(received[0])}
    # Not for a single file: it would take longer to load than to work.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_WORKERS) as pool:
        return dict(zip((one.name for one in received), pool.map(examine, received), strict=True))


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


def _read_stream(stream: BinaryIO, incoming: str, cleanup: contextlib.ExitStack, messages: Messages) -> _Transfer:
    """Write the files of the stream to temporary ones."""
    received: dict[str, accept.Received] = {}
    sums: dict[str, Mapping[str, str]] = {}
    try:
        with tarfile.open(mode="r|", fileobj=stream, bufsize=accept.CHUNK) as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                content = _open_member(archive, member, name)
                if name in _ALGORITHMS:
                    text = content.read(_LARGEST_SUMS).decode("utf-8", "replace")
                    sums[_ALGORITHMS[name]] = _parse_sums(text, name, messages)
                elif name in received:
                    raise WalError(f"the stream holds {name} twice")
                else:
                    received[name] = _extract(content, member, os.path.join(incoming, name), cleanup)
            wants_report = REPORT in archive.pax_headers
        while stream.read(accept.CHUNK):
            # The sender must be able to write to the end.
            pass
    except tarfile.TarError as error:
        raise WalError(f"the stream is not a complete tar archive: {error}") from error
    if not received:
        raise WalError("the stream holds no WAL file")
    return _Transfer(list(received.values()), sums, wants_report)


def _open_member(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> BinaryIO:
    content = archive.extractfile(member) if member.isreg() else None
    if content is None:
        raise WalError(f"{name!r} in the stream is not a regular file")
    if name not in _ALGORITHMS and not is_wal_name(name):
        raise WalError(f"{name!r} in the stream is not the name of a WAL file")
    return content  # type: ignore[return-value]


def _parse_sums(text: str, file: str, messages: Messages) -> Mapping[str, str]:
    sums = {}
    for line in text.splitlines():
        match = _SUM_LINE.fullmatch(line.strip())
        if match is None:
            messages.warning(f"{file}: not a checksum: {line!r}")
        else:
            sums[match["name"]] = match["digest"].lower()
    return sums


def _extract(content: BinaryIO, member: tarfile.TarInfo, path: str, cleanup: contextlib.ExitStack) -> accept.Received:
    temporary, file = files.open_temporary(path)
    cleanup.callback(_discard, temporary, file)
    digest = hashlib.sha256()
    size = 0
    with files.naming(temporary):
        while chunk := content.read(accept.CHUNK):
            digest.update(chunk)
            file.write(chunk)
            size += len(chunk)
        file.flush()
        os.fchmod(file.fileno(), 0o600 | member.mode & 0o077)
        os.utime(file.fileno(), (member.mtime, member.mtime))
    if size != member.size:
        raise WalError(f"{member.name} in the stream is cut short")
    return accept.Received(os.path.basename(path), temporary, file, {"sha256": digest.hexdigest()})


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
