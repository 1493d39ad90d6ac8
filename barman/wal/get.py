"""get-wal: send a WAL file of a server as it is wanted. Hot.

A file that is not there is exit code 1. One that is there but cannot be sent whole is STOP_RECOVERY: PostgreSQL must
not end recovery quietly before it. Nor must it where it runs this in a data directory, and nobody could look.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from typing import TYPE_CHECKING, BinaryIO, cast

from barman.config.hot import open_hot_server
from barman.config.values import is_url
from barman.errors import ConfigError, StorageError, UserError, WalError
from barman.host import files
from barman.host.patience import Patience
from barman.postgres.wal_names import parse_wal_name
from barman.storage.compress import codecs
from barman.wal.find import CannotSend, NoSuchWal, decoded, names_from, open_wal, peek, require_archive
from barman.wal.hot_program import (
    STOP_RECOVERY,
    STOPPED_HINT,
    TERMINATED,
    Messages,
    build_parser,
    drop_standard_output,
    ends_with_the_wal,
    run_program,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.config.hot import HotServer
    from barman.postgres.wal_names import WalName
    from barman.wal.find import Wal
    from barman.wal.tar_stream import TarWriter

BAD_NAME_OR_OUTPUT = 3

PATIENCE_S = 300
"""A receiver that takes nothing for so long is given up; its connection may look alive for two hours."""

_CHUNK = 1 << 20


class _BadName(WalError):
    exit_code = BAD_NAME_OR_OUTPUT


class _BadOutput(UserError):
    exit_code = BAD_NAME_OR_OUTPUT


def main(arguments: Sequence[str]) -> int:
    """Run `barman [GLOBAL OPTIONS] get-wal …`, without the program name; returns the exit code."""
    parser, command = build_parser("get-wal", "Fetch a WAL file of a server and write it to standard output.")
    _add_options(command)
    options = parser.parse_args(list(arguments))
    messages = Messages(os.environ, as_json=options.format == "json", quiet=options.quiet)

    is_missing = False

    def work() -> int:
        nonlocal is_missing
        if options.keep_compression and options.compression:
            raise ConfigError(f"--{options.compression} cannot be combined with --keep-compression")
        server = open_hot_server(options.config, os.environ, options.server_name, receives=False)
        if options.test:
            require_archive(server)
            messages.info(f"Ready to retrieve WAL files from the server {server.name}")
            return 0
        name = _parse_name(options.wal_name)
        if is_url(server.wals_directory):
            raise ConfigError(f"the WAL archive of server '{server.name}' is in the cloud", hint=_CLOUD_HINT)
        try:
            _answer(server, name, options, messages)
        except NoSuchWal:
            is_missing = True
            raise
        except BrokenPipeError:
            raise
        except OSError as error:
            place = f": {error.filename}" if error.filename is not None else ""
            raise CannotSend(f"cannot send WAL file {name.text}: {error.strerror}{place}") from error
        return 0

    status = run_program(messages, work)
    if 0 < status < TERMINATED and not is_missing and ends_with_the_wal(os.curdir):
        messages.error(f"it is not known whether there is a WAL file {options.wal_name}", STOPPED_HINT)
        status = STOP_RECOVERY
    return messages.close(status)


def _answer(server: HotServer, name: WalName, options: argparse.Namespace, messages: Messages) -> None:
    if options.peek:
        for found in peek(server, name, options.peek):
            messages.info(found)
    elif options.stream:
        messages.data_follows()
        with _Output(sys.stdout.buffer) as output:
            stream(server, name, options.stream, output)
    else:
        with open_wal(server, name, partial=options.partial) as wal:
            if options.output_directory is not None:
                _send_to_file(wal, options, messages)
                return
            messages.data_follows()
            with _Output(sys.stdout.buffer) as output:
                _send(wal, output, options)


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


class _Stuck(CannotSend):
    """What was written before would keep us for ever, if it were flushed."""


def _stuck() -> _Stuck:
    return _Stuck(f"nothing has moved for {PATIENCE_S} seconds: the receiver is gone, or a disk is stuck")


_CLOUD_HINT = "Fetch it with barman cloud-wal-restore."


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


def stream(server: HotServer, name: WalName, count: int, target: BinaryIO) -> None:
    """Write up to count files, from name on without a gap, as a tar archive; each is flushed when it is complete.

    They are compressed as they are stored, unless the receiver could not decompress them. NoSuchWal if there is none;
    what is wrong with a later one raises, too, when those before it have been written.
    """
    # Here, because only this needs it.
    from barman.wal.tar_stream import TarWriter

    archive = TarWriter(target)
    for following in itertools.islice(names_from(server, name), count):
        try:
            with open_wal(server, following, partial=False) as wal:
                _add_to_stream(wal, archive)
            target.flush()
        except NoSuchWal:
            if following == name:
                raise
            break
    archive.finish()


def _add_to_stream(wal: Wal, archive: TarWriter) -> None:
    wal.require_whole()
    with contextlib.ExitStack() as stack:
        source, size = wal.file, wal.size
        if wal.codec == "custom":
            # The filter is known here only. Its output is a file, so its size can be told beforehand.
            source = stack.enter_context(decoded(wal))
            size = os.fstat(source.fileno()).st_size
        if not archive.add(wal.name.text, source, size):
            raise CannotSend(f"WAL file {wal.path} was cut short while it was sent")


def _send_to_file(wal: Wal, options: argparse.Namespace, messages: Messages) -> None:
    path = os.path.join(options.output_directory, wal.name.text)
    messages.info(f"Sending WAL '{wal.name.text}' into '{path}' file")
    with contextlib.ExitStack() as stack:
        try:
            target = stack.enter_context(files.replacing(path))
        except OSError as error:
            raise _BadOutput(f"unable to write {path}: {error.strerror}") from error
        _send(wal, target, options)


def _send(wal: Wal, target: BinaryIO, options: argparse.Namespace) -> None:
    """Write the file as wanted. CannotSend if it is damaged."""
    wal.require_whole()
    try:
        if options.keep_compression or wal.codec == options.compression:
            _copy(wal.file, target)
        elif options.compression is None:
            with decoded(wal) as reader:
                wal.require_size(_copy(reader, target))
        else:
            with decoded(wal) as reader:
                level = codecs.resolve_level(options.compression, None)
                codecs.compress_stream(reader, target, options.compression, level)
        target.flush()
    except StorageError as error:
        raise CannotSend(f"WAL file {wal.path} is damaged: {error.message}") from error


def _copy(source: BinaryIO, target: BinaryIO) -> int:
    """Return how many bytes there were."""
    size = 0
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        size += len(chunk)
    return size
