"""put-wal: receive WAL files on standard input and store them in the incoming directory. Hot.

The stream is a tar archive: files, then SHA256SUMS or MD5SUMS. Nothing is kept unless every file has the right sum.
Exit 0 means: the files are in the incoming directory under their names, durably. A file that is there with another
content is never replaced: the newcomer goes to the errors directory, and the exit code makes PostgreSQL keep its own.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import sys
import tarfile
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from barman.config.hot import open_hot_server
from barman.errors import WalError
from barman.host import files
from barman.postgres.wal_names import is_wal_name
from barman.wal.error_names import free_error_path
from barman.wal.hot_program import Messages, build_parser, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from barman.config.hot import HotServer

_ALGORITHMS = {"SHA256SUMS": "sha256", "MD5SUMS": "md5"}
_SUM_LINE = re.compile(r"(?P<digest>[0-9a-fA-F]+) [ *](?:\./)?(?P<name>\S+)")
_CHUNK = 1 << 20


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
        return receive(server, sys.stdin.buffer, messages)

    status = run_program(messages, work)
    messages.close()
    return status


class _Received(NamedTuple):
    """A file of the stream, complete but not yet stored. digests: by algorithm, filled on demand."""

    name: str
    temporary: str
    file: BinaryIO
    digests: dict[str, str]

    def digest(self, algorithm: str) -> str:
        """Return the hexadecimal digest of the content."""
        if algorithm not in self.digests:
            self.file.seek(0)
            self.digests[algorithm] = _digest(self.file, algorithm)
        return self.digests[algorithm]


def receive(server: HotServer, stream: BinaryIO, messages: Messages) -> int:
    """Store the files of a stream; returns the exit code: 0, or 1 when a file conflicts with a stored one.

    WalError if the stream is damaged or a sum is missing or wrong: nothing was kept then.
    """
    incoming = server.incoming_wals_directory
    files.make_directories(incoming)
    files.remove_stale_temporaries(incoming)
    received: list[_Received] = []
    with contextlib.ExitStack() as cleanup:
        sums = _read_stream(stream, incoming, received, cleanup, messages)
        _require_sums(received, sums)
        for one in received:
            with files.naming(one.temporary):
                os.fsync(one.file.fileno())
        conflicts = [one for one in received if not _store(one, incoming)]
        files.fsync_directory(incoming)
        for one in conflicts:
            place = _set_aside(one, server.errors_directory)
            messages.error(
                f"WAL file {one.name} of server '{server.name}' is already in {incoming} with different content,"
                f" the new one is in {place}",
                "Find out which cluster archives here besides the right one.",
            )
    return 1 if conflicts else 0


def _read_stream(
    stream: BinaryIO,
    incoming: str,
    received: list[_Received],
    cleanup: contextlib.ExitStack,
    messages: Messages,
) -> dict[str, Mapping[str, str]]:
    """Write the files of the stream to temporary ones; return the sums by algorithm and name."""
    sums: dict[str, Mapping[str, str]] = {}
    try:
        with tarfile.open(mode="r|", fileobj=stream, bufsize=_CHUNK) as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                content = _open_member(archive, member, name)
                if name in _ALGORITHMS:
                    sums[_ALGORITHMS[name]] = _parse_sums(content.read().decode("utf-8", "replace"), name, messages)
                else:
                    received.append(_extract(content, member, os.path.join(incoming, name), cleanup))
        while stream.read(_CHUNK):
            # The sender must be able to write to the end.
            pass
    except tarfile.TarError as error:
        raise WalError(f"the stream is not a complete tar archive: {error}") from error
    if not received:
        raise WalError("the stream holds no WAL file")
    return sums


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


def _extract(content: BinaryIO, member: tarfile.TarInfo, path: str, cleanup: contextlib.ExitStack) -> _Received:
    temporary, file = files.open_temporary(path)
    cleanup.callback(_discard, temporary, file)
    digest = hashlib.sha256()
    size = 0
    with files.naming(temporary):
        for chunk in _chunks(content):
            digest.update(chunk)
            file.write(chunk)
            size += len(chunk)
        file.flush()
        os.fchmod(file.fileno(), 0o600 | member.mode & 0o077)
        os.utime(file.fileno(), (member.mtime, member.mtime))
    if size != member.size:
        raise WalError(f"{member.name} in the stream is cut short")
    reader = cleanup.enter_context(open(temporary, "rb"))  # noqa: SIM115 - cleanup closes it
    return _Received(os.path.basename(path), temporary, reader, {"sha256": digest.hexdigest()})


def _discard(temporary: str, file: BinaryIO) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    file.close()


def _require_sums(received: Sequence[_Received], sums: Mapping[str, Mapping[str, str]]) -> None:
    algorithm = "md5" if "md5" in sums else "sha256"
    expected = sums.get(algorithm, {})
    names = {one.name for one in received}
    for name in expected:
        if name not in names:
            raise WalError(f"the stream holds a checksum of {name} but not the file")
    for one in received:
        if one.name not in expected:
            raise WalError(f"the stream holds {one.name} but not its checksum")
        if one.digest(algorithm) != expected[one.name]:
            raise WalError(f"WAL file {one.name} was damaged on the way: wrong {algorithm} checksum")


def _store(one: _Received, incoming: str) -> bool:
    """Give a file its final name, without a directory fsync; False if another content has it."""
    final = os.path.join(incoming, one.name)
    try:
        # Unlike a rename, a link never replaces what another process has put there meanwhile.
        os.link(one.temporary, final)
    except FileExistsError:
        return _is_stored(one, final)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
            raise
        # A file system without hard links.
        if os.path.lexists(final):
            return _is_stored(one, final)
        os.rename(one.temporary, final)
        return True
    os.unlink(one.temporary)
    return True


def _is_stored(one: _Received, final: str) -> bool:
    """Whether final has the same WAL in it; then it is durable on return, whoever wrote it."""
    try:
        file = open(final, "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        # Archived in this moment: for that it had to be complete, and archiving compares.
        os.rename(one.temporary, final)
        return True
    with file:
        if _digest(file, "sha256") != one.digest("sha256") and not _is_same_wal(one.file, file):
            return False
        with files.naming(final):
            os.fsync(file.fileno())
    return True


def _is_same_wal(new: BinaryIO, old: BinaryIO) -> bool:
    """Compare what two compressed files decompress to; the same segment compressed twice may differ in bytes."""
    from barman.storage.compress import codecs

    found = []
    digests = set()
    for file in (new, old):
        file.seek(0)
        codec = codecs.identify(file.read(codecs.LONGEST_MAGIC))
        file.seek(0)
        found.append(codec)
        if codec is None:
            digests.add(_digest(file, "sha256"))
        else:
            with codecs.open_reader(file, codec) as reader:
                digests.add(_digest(reader, "sha256"))
    return found != [None, None] and len(digests) == 1


def _set_aside(one: _Received, errors: str) -> str:
    """Keep a conflicting file in the errors directory, once however often it is sent; return where it is."""
    files.make_directories(errors)
    marker = re.compile(rf"{re.escape(one.name)}\.\d{{8}}T\d{{6}}Z\.duplicate")
    for name in os.listdir(errors):
        path = os.path.join(errors, name)
        if marker.fullmatch(name):
            with open(path, "rb") as file:
                if _digest(file, "sha256") == one.digest("sha256"):
                    return path
    path = free_error_path(errors, one.name, "duplicate")
    one.file.seek(0)
    with files.replacing(path, mode=0o600) as target:
        shutil.copyfileobj(one.file, target, _CHUNK)
    return path


def _digest(file: BinaryIO, algorithm: str) -> str:
    # MD5 is the wire format of older senders; it guards against accidents, not against attackers.
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for chunk in _chunks(file):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
