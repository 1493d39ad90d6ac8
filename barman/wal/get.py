"""get-wal: find a WAL file wherever it is, and send it decompressed. Hot.

A file that is not there is exit code 1. One that is there but cannot be sent whole is STOP_RECOVERY: PostgreSQL must
not end recovery quietly before it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from barman.config.hot import open_hot_server
from barman.config.values import is_url
from barman.errors import BarmanError, ConfigError, StorageError, UserError, WalError
from barman.host import files
from barman.host.patience import Patience
from barman.postgres.wal_header import LONG_HEADER_SIZE, parse_page_header
from barman.postgres.wal_names import DEFAULT_SEGMENT_SIZE, WalKind, archive_directory, next_segment, parse_wal_name
from barman.storage.compress import codecs
from barman.storage.compress.decoded import open_decrypted
from barman.storage.encrypt.openpgp import is_openpgp
from barman.wal.hot_program import STOP_RECOVERY, Messages, build_parser, drop_standard_output, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barman.config.hot import HotServer
    from barman.postgres.wal_names import WalName

NOT_FOUND = 1
BAD_NAME_OR_OUTPUT = 3

PATIENCE_S = 300
"""A receiver that takes nothing for so long is given up; its connection may look alive for two hours."""

_CHUNK = 1 << 20
_SEGMENT_SIZES = frozenset(1 << bits for bits in range(20, 31))


class _BadName(WalError):
    exit_code = BAD_NAME_OR_OUTPUT


class _BadOutput(UserError):
    exit_code = BAD_NAME_OR_OUTPUT


class _NotFound(WalError):
    exit_code = NOT_FOUND


class _CannotSend(WalError):
    exit_code = STOP_RECOVERY


def main(arguments: Sequence[str]) -> int:
    """Run `barman [GLOBAL OPTIONS] get-wal …`, without the program name; returns the exit code."""
    parser, command = build_parser("get-wal", "Fetch a WAL file of a server and write it to standard output.")
    _add_options(command)
    options = parser.parse_args(list(arguments))
    messages = Messages(os.environ, as_json=options.format == "json", quiet=options.quiet)
    sent = False

    def work() -> int:
        nonlocal sent
        if options.keep_compression and options.compression:
            raise ConfigError(f"--{options.compression} cannot be combined with --keep-compression")
        server = open_hot_server(options.config, os.environ, options.server_name, receives=False)
        if options.test:
            _require_archive(server)
            messages.info(f"Ready to retrieve WAL files from the server {server.name}")
            return 0
        name = _parse_name(options.wal_name)
        if is_url(server.wals_directory):
            raise ConfigError(f"the WAL archive of server '{server.name}' is in the cloud", hint=_CLOUD_HINT)
        if options.stream:
            sent = True
            with _Output(sys.stdout.buffer) as output:
                stream(server, name, options.stream, output)
            return 0
        if options.peek:
            for found in peek(server, name, options.peek):
                messages.info(found)
            return 0
        with _open(server, name, partial=options.partial) as wal:
            if options.output_directory is None:
                sent = True
                with _Output(sys.stdout.buffer) as output:
                    _send(wal, output, options)
                return 0
            _send_to_file(wal, options, messages)
            return 0

    status = run_program(messages, work)
    messages.close(data_sent=sent)
    return status


class _Output:
    """Standard output, until the receiver takes nothing any more."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._limit = Patience(PATIENCE_S, _stuck)

    def __enter__(self) -> BinaryIO:
        self._limit.__enter__()
        return cast("BinaryIO", self)

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        self._limit.__exit__(None, None, None)
        if kind is _Stuck:
            drop_standard_output()

    def write(self, data: bytes) -> int:
        """Write all of it."""
        self._limit.renew()
        return self._target.write(data)

    def flush(self) -> None:
        """Hand on what was written."""
        self._limit.renew()
        self._target.flush()


class _Stuck(_CannotSend):
    """What was written before would keep us for ever, if it were flushed."""


def _stuck() -> _Stuck:
    return _Stuck(f"nothing has moved for {PATIENCE_S} seconds: the receiver is gone, or a disk is stuck")


_CLOUD_HINT = "Fetch it with barman cloud-wal-restore."


def _require_archive(server: HotServer) -> None:
    """Raise UserError if the archive is not where it should be: its file system is not mounted, say."""
    directory = server.wals_directory
    if not is_url(directory) and not os.path.isdir(directory):
        raise UserError(
            f"the WAL archive of server '{server.name}' is not there: {directory}",
            hint=f"Is its file system mounted? A new server has one after 'barman check {server.name}'.",
        )


def _not_found(server: HotServer, name: WalName) -> _NotFound:
    _require_archive(server)
    return _NotFound(f"WAL file '{name.text}' not found in server '{server.name}'")


def _add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("server_name", metavar="SERVER", help="server that the file belongs to")
    command.add_argument("wal_name", metavar="WAL_NAME", help="name of the file, without a directory")
    command.add_argument(
        "-o", "--output-directory", metavar="DIR", help="write DIR/WAL_NAME instead of standard output"
    )
    command.add_argument("-P", "--partial", action="store_true", help="accept the .partial file as well")
    for letters, codec in ((("-z", "-x", "--gzip"), "gzip"), (("-j", "--bzip2"), "bzip2")):
        command.add_argument(
            *letters, action="store_const", const=codec, dest="compression", help=f"compress the output with {codec}"
        )
    command.add_argument("--keep-compression", action="store_true", help="send the file as it is stored")
    command.add_argument(
        "-p", "--peek", metavar="SIZE", type=_positive, help="only list up to SIZE names that follow each other"
    )
    command.add_argument(
        "--stream",
        metavar="COUNT",
        type=_positive,
        help="write up to COUNT files that follow each other as a tar archive, each as it is stored",
    )
    command.add_argument("-t", "--test", action="store_true", help="only tell whether WAL could be sent")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive integer")
    return int(text)


def _parse_name(text: str) -> WalName:
    try:
        return parse_wal_name(text)
    except WalError:
        raise _BadName(f"'{text}' is not a valid wal file name") from None


class _Wal(NamedTuple):
    """A file that was found. file: decrypted. codec: its compression, None if it is plain. size: of file."""

    name: WalName
    path: str
    file: BinaryIO
    size: int
    codec: str | None
    is_encrypted: bool
    filters: codecs.CustomFilters | None


def peek(server: HotServer, name: WalName, count: int) -> Iterator[str]:
    """Yield up to count names of files that are there, from name on without a gap; of other than segments only name."""
    segment_size: int | None = None
    current = name.text
    while count and any(os.path.exists(path) for path in _complete_places(server, current)):
        yield current
        count -= 1
        if name.kind is not WalKind.SEGMENT or not count:
            return
        if segment_size is None:
            segment_size = _segment_size(server, parse_wal_name(current))
        current = next_segment(current, segment_size)


def stream(server: HotServer, name: WalName, count: int, target: BinaryIO) -> None:
    """Write up to count files, from name on without a gap, as a tar archive; each is flushed when it is complete.

    They are compressed as they are stored, unless the receiver could not decompress them. _NotFound if there is none;
    what is wrong with a later one raises, too, when those before it have been written.
    """
    # Here, because only this needs it.
    import tarfile

    is_first = True
    for found in peek(server, name, count):
        try:
            with _open(server, parse_wal_name(found), partial=False) as wal:
                _add_to_stream(wal, target)
        except _NotFound:
            if is_first:
                raise
            # It is still arriving, or went away in this moment.
            break
        is_first = False
    if is_first:
        raise _not_found(server, name)
    target.write(bytes(2 * tarfile.BLOCKSIZE))
    target.flush()


def _add_to_stream(wal: _Wal, target: BinaryIO) -> None:
    import tarfile

    if wal.codec is None and wal.name.kind is WalKind.SEGMENT and wal.size not in _SEGMENT_SIZES:
        raise _CannotSend(f"WAL file {wal.path} is damaged: {wal.size} bytes are no segment")
    with contextlib.ExitStack() as stack:
        source, size = wal.file, wal.size
        if wal.codec == "custom":
            # The filter is known here only. Its output is a file, so its size can be told beforehand.
            source = stack.enter_context(_decoded(wal))
            size = os.fstat(source.fileno()).st_size
        member = tarfile.TarInfo(wal.name.text)
        member.size = size
        target.write(member.tobuf(tarfile.USTAR_FORMAT))
        left = size
        while left and (chunk := source.read(min(_CHUNK, left))):
            target.write(chunk)
            left -= len(chunk)
        if left:
            raise _CannotSend(f"WAL file {wal.path} was cut short while it was sent")
        target.write(bytes(-size % tarfile.BLOCKSIZE))
        target.flush()


def _segment_size(server: HotServer, name: WalName) -> int:
    """Return the size of a segment: a plain file shows it, of a compressed one the first page tells."""
    with _open(server, name, partial=False) as wal:
        if wal.codec is None and wal.size in _SEGMENT_SIZES:
            return wal.size
        try:
            with _decoded(wal) as reader:
                size = parse_page_header(reader.read(LONG_HEADER_SIZE)).segment_size
        except (StorageError, WalError) as error:
            raise _CannotSend(f"WAL file {wal.path} is damaged: {error.message}") from error
        return size if size in _SEGMENT_SIZES else DEFAULT_SEGMENT_SIZE


def _complete_places(server: HotServer, name: str) -> tuple[str, str, str]:
    return (
        os.path.join(server.wals_directory, archive_directory(name), name),
        os.path.join(server.incoming_wals_directory, name),
        os.path.join(server.streaming_wals_directory, name),
    )


def _places(server: HotServer, name: WalName, *, partial: bool) -> tuple[str, ...]:
    """Return where to look, in order; files move while we do, so some places come twice."""
    archived, incoming, streaming = _complete_places(server, name.text)
    if not partial or name.kind is not WalKind.SEGMENT:
        return archived, incoming, streaming, archived
    return (
        archived,
        incoming,
        streaming,
        f"{streaming}.partial",
        streaming,
        f"{archived}.partial",
        f"{incoming}.partial",
        archived,
    )


@contextlib.contextmanager
def _open(server: HotServer, name: WalName, *, partial: bool) -> Iterator[_Wal]:
    """Open the first complete file that goes by the name; _NotFound if there is none."""
    filters = server.custom_filters()
    for path in _places(server, name, partial=partial):
        try:
            file = open(path, "rb")  # noqa: SIM115 - closed below
        except (FileNotFoundError, NotADirectoryError):
            continue
        with file:
            wal = _inspect(name, path, file, filters)
            if _is_still_arriving(wal, server):
                continue
            if not wal.is_encrypted:
                yield wal
                return
            with _decrypted(wal, server) as plain:
                yield _inspect(name, path, plain, filters)
                return
    raise _not_found(server, name)


def _inspect(name: WalName, path: str, file: BinaryIO, filters: codecs.CustomFilters | None) -> _Wal:
    descriptor = file.fileno()
    # Not file.read: a filter will be given the descriptor, which must stand at the beginning.
    first_bytes = os.pread(descriptor, codecs.LONGEST_MAGIC, 0)
    codec = codecs.identify(first_bytes, custom=filters)
    return _Wal(name, path, file, os.fstat(descriptor).st_size, codec, is_openpgp(first_bytes), filters)


def _decrypted(wal: _Wal, server: HotServer) -> BinaryIO:
    """Return what the file holds decrypted, as a real file."""
    try:
        return open_decrypted(wal.file, server.decryption())
    except BarmanError as error:
        raise _CannotSend(f"WAL file {wal.path} cannot be sent: {error.message}", hint=error.hint) from error


def _is_still_arriving(wal: _Wal, server: HotServer) -> bool:
    """Whether this is the beginning of a file that somebody is writing: archived files are whole or damaged."""
    if wal.path.startswith(os.path.join(server.wals_directory, "")):
        return False
    if wal.path.endswith(".partial"):
        return wal.size == 0
    return wal.name.kind is WalKind.SEGMENT and wal.codec is None and wal.size not in _SEGMENT_SIZES


def _send_to_file(wal: _Wal, options: argparse.Namespace, messages: Messages) -> None:
    path = os.path.join(options.output_directory, wal.name.text)
    messages.info(f"Sending WAL '{wal.name.text}' into '{path}' file")
    try:
        with files.replacing(path) as target:
            _send(wal, target, options)
    except OSError as error:
        raise _BadOutput(f"unable to write {path}: {error.strerror}") from error


def _send(wal: _Wal, target: BinaryIO, options: argparse.Namespace) -> None:
    """Write the file as wanted. _CannotSend if it is damaged or cannot be written whole."""
    try:
        if options.keep_compression or wal.path.endswith(".partial") or _has_wanted_form(wal, options.compression):
            _copy(wal, wal.file, target, check=wal.codec is None and not wal.path.endswith(".partial"))
        elif options.compression is None:
            with _decoded(wal) as reader:
                _copy(wal, reader, target, check=True)
        else:
            with _decoded(wal) as reader:
                level = codecs.resolve_level(options.compression, None)
                codecs.compress_stream(reader, target, options.compression, level)
        target.flush()
    except BrokenPipeError:
        raise
    except StorageError as error:
        raise _CannotSend(f"WAL file {wal.path} is damaged: {error.message}") from error
    except OSError as error:
        if options.output_directory is not None:
            raise
        raise _CannotSend(f"cannot send WAL file {wal.path}: {error.strerror}") from error


def _has_wanted_form(wal: _Wal, wanted: str | None) -> bool:
    return wal.codec == wanted


@contextlib.contextmanager
def _decoded(wal: _Wal) -> Iterator[BinaryIO]:
    """Give a reader of what the file holds once decompressed."""
    if wal.codec is None:
        yield wal.file
        return
    try:
        reader = codecs.open_reader(wal.file, wal.codec, custom=wal.filters)
    except BarmanError as error:
        raise _CannotSend(f"WAL file {wal.path} cannot be decompressed: {error.message}", hint=error.hint) from error
    with reader:
        yield reader


def _copy(wal: _Wal, source: BinaryIO, target: BinaryIO, *, check: bool) -> None:
    size = 0
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        size += len(chunk)
    if check and wal.name.kind is WalKind.SEGMENT and size not in _SEGMENT_SIZES:
        raise _CannotSend(f"WAL file {wal.path} is damaged: {size} bytes are no segment")
