"""Which of the WAL files that were received may stand in incoming/, and putting them there durably. Hot-safe.

Nothing gets its final name before it was looked at: a segment must be whole, from our cluster, and what its name says;
and no other content may have that name already, here or in the archive.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import re
import shutil
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from barman.config.values import is_url
from barman.errors import BarmanError
from barman.host import files
from barman.postgres.wal_header import LONG_HEADER_SIZE, check_header, parse_page_header
from barman.postgres.wal_names import archive_directory, is_segment_name
from barman.storage.compress import codecs
from barman.storage.compress.decoded import open_decoded
from barman.storage.encrypt.content_mark import read_mark
from barman.storage.encrypt.openpgp import is_openpgp
from barman.wal.error_names import free_error_path
from barman.wal.inspect import inspect_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.config.hot import HotServer

CHUNK = 1 << 20

CONFLICT = "duplicate"
# A single damaged segment must not decide which cluster is ours; encrypted ones tell nothing.
_LOOKED_AT = 3
_SYSTEM_ID = re.compile(r'"systemid":\s*"?(\d+)')
_VERSION = re.compile(r'"version":\s*"([0-9.]+)"')


class Received(NamedTuple):
    """A file that reached us whole but is not yet stored.

    temporary: where it is until then. file: the same, written and flushed. digests: by algorithm, filled on demand.
    """

    name: str
    temporary: str
    file: BinaryIO
    digests: dict[str, str]

    def digest(self, algorithm: str) -> str:
        """Return the hexadecimal digest of the content."""
        if algorithm not in self.digests:
            with self.open() as file:
                self.digests[algorithm] = digest_of(file, algorithm)
        return self.digests[algorithm]

    def open(self) -> BinaryIO:
        """Open it at its start, for reading."""
        return open(self.temporary, "rb")


class Cluster(NamedTuple):
    """Which cluster WAL must come from, as far as it is known. version: the major one."""

    system_id: str | None = None
    version: str | None = None


class Refusal(NamedTuple):
    """Why a file is not stored. kind: one word, the end of its name in the errors directory."""

    kind: str
    reason: str


def expected_cluster(server: HotServer) -> Cluster:
    """Return what is known of the cluster: from identity.json, else from the newest archived segment."""
    with contextlib.suppress(OSError), open(os.path.join(server.backup_directory, "identity.json")) as identity:
        # Not json.load: it takes longer to import than all of this.
        text = identity.read()
        if found := _SYSTEM_ID.search(text):
            version = _VERSION.search(text)
            return Cluster(found[1], version[1] if version else None)
    if is_url(server.wals_directory):
        return Cluster()
    with contextlib.suppress(OSError):
        for path in itertools.islice(_newest_segments(server.wals_directory), _LOOKED_AT):
            if (cluster := _cluster_of(path, server)) is not None:
                return cluster
    return Cluster()


def _cluster_of(path: str, server: HotServer) -> Cluster | None:
    """Return of which cluster an archived segment is; None if it is encrypted or damaged."""
    with contextlib.suppress(BarmanError), open_decoded(open(path, "rb"), custom=server.custom_filters()) as reader:
        header = parse_page_header(reader.read(LONG_HEADER_SIZE))
        if check_header(header, name=os.path.basename(path)) is None:
            return Cluster(header.system_id, header.version)
    return None


def _newest_segments(wals: str) -> Iterator[str]:
    for directory in sorted(filter(re.compile("[0-9A-F]{16}").fullmatch, os.listdir(wals)), reverse=True):
        names = [name for name in os.listdir(os.path.join(wals, directory)) if is_segment_name(name)]
        if names:
            yield os.path.join(wals, directory, max(names))


def examine(one: Received, server: HotServer, cluster: Cluster) -> Refusal | None:
    """Return why a file cannot be WAL of this cluster, None if it can; and make its content durable.

    Encrypted files cannot be looked into. May run in several threads.
    """
    with one.open() as file:
        found = inspect_file(
            file, name=one.name, system_id=cluster.system_id, version=cluster.version, custom=server.custom_filters()
        )
    if found.fault is not None:
        return Refusal(found.fault, found.reason)
    with files.naming(one.temporary):
        os.fsync(one.file.fileno())
    return None


def store(one: Received, server: HotServer) -> Refusal | None:
    """Give a file its final name in incoming/, without a directory fsync; a refusal if another content has it.

    What is there with the same content, or in the archive, is durable on return, and the newcomer is not needed.
    """
    final = os.path.join(server.incoming_wals_directory, one.name)
    archived = None
    if not is_url(server.wals_directory):
        archived = os.path.join(server.wals_directory, archive_directory(one.name), one.name)
    # What cannot be compared here (it is damaged, or nobody can decrypt it) is left to archive-wal.
    if archived is not None and (is_same := _compare(one, archived, server, unclear=None)) is not None:
        return None if is_same else Refusal(CONFLICT, f"{archived} has different content")
    if not _put_in_place(one, final, server):
        return Refusal(CONFLICT, f"{final} has different content")
    if archived is not None and _compare(one, archived, server, unclear=None) is False:
        # Another content went from here to the archive between the two looks.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(final)
        return Refusal(CONFLICT, f"{archived} has different content")
    return None


def _put_in_place(one: Received, final: str, server: HotServer) -> bool:
    """Make final the file; False if it has another content, or one that cannot be compared."""
    while True:
        try:
            # Unlike a rename, a link never replaces what another process has put there meanwhile.
            os.link(one.temporary, final)
            return True
        except FileExistsError:
            is_same = _compare(one, final, server, unclear=False)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
                raise
            # A file system without hard links.
            if not os.path.lexists(final):
                os.rename(one.temporary, final)
                return True
            is_same = _compare(one, final, server, unclear=False)
        if is_same is not None:
            return is_same
        # Archived in this moment: the name is free.


def _compare(one: Received, path: str, server: HotServer, *, unclear: bool | None) -> bool | None:
    """Whether path holds the same WAL, and then durably, whoever wrote it; None if there is no such file.

    unclear: the answer when it cannot be told, as the file is damaged, or encrypted and there is no passphrase.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except (FileNotFoundError, NotADirectoryError):
        return None
    with file:
        if digest_of(file, "sha256") != one.digest("sha256"):
            try:
                with one.open() as newcomer:
                    is_same = _digest_of_wal(newcomer, server) == _digest_of_wal(file, server)
            except BarmanError:
                return unclear
            if not is_same:
                return False
        with files.naming(path):
            os.fsync(file.fileno())
    with contextlib.suppress(FileNotFoundError):
        files.fsync_directory(os.path.dirname(path))
    return True


def _digest_of_wal(file: BinaryIO, server: HotServer) -> str:
    """Return the digest of what file decrypts and decompresses to: a segment compressed twice may differ in bytes.

    BarmanError if that cannot be told: it is damaged, or encrypted, nothing was noted of it and there is no passphrase.
    """
    is_encrypted = is_openpgp(os.pread(file.fileno(), codecs.LONGEST_MAGIC, 0))
    if is_encrypted and (mark := read_mark(file)) is not None:
        return mark
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    again = open(file.fileno(), "rb", closefd=False)  # noqa: SIM115 - the reader owns it
    decryption = server.decryption() if is_encrypted else None
    with open_decoded(again, custom=server.custom_filters(), decryption=decryption) as reader:
        return digest_of(reader, "sha256")


def set_aside(one: Received, errors: str, kind: str) -> str:
    """Keep a refused file in the errors directory, once however often it is sent; return where it is."""
    files.make_directories(errors)
    marker = re.compile(rf"{re.escape(one.name)}\.\d{{8}}T\d{{6}}Z\.{kind}")
    for name in os.listdir(errors):
        path = os.path.join(errors, name)
        if marker.fullmatch(name):
            with open(path, "rb") as file:
                if digest_of(file, "sha256") == one.digest("sha256"):
                    return path
    path = free_error_path(errors, one.name, kind)
    with one.open() as file, files.replacing(path, mode=0o600) as target:
        shutil.copyfileobj(file, target, CHUNK)
    return path


def digest_of(file: BinaryIO, algorithm: str) -> str:
    """Return the hexadecimal digest of what file still holds."""
    # MD5 is the wire format of older senders; it guards against accidents, not against attackers.
    digest = hashlib.new(algorithm, usedforsecurity=False)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
