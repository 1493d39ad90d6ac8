"""WAL that is encrypted in the archive: written with the public key, read with the passphrase."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import zlib

import pytest

from barman.storage.compress.codecs import open_reader
from tests.support.archiving import archiving_server, catalogue, deliver, errors, left, listed, put, stored
from tests.support.gnupg import DECRYPTED, ENCRYPTED, KeyRing, decrypt, needs_gpg
from tests.support.wal import HISTORY, name_of, segment

pytestmark = needs_gpg

ONE, TWO, THREE = (name_of(number) for number in (1, 2, 3))


@pytest.fixture
def server(home):
    return archiving_server(home, **ENCRYPTED, compression="zstd")


@pytest.fixture
def public_ring(home):
    """Only the public key: this host can encrypt and never decrypt."""
    ring = KeyRing(home.directory, has_secret=False)
    yield ring
    ring.forget()


def _supports_marks(directory):
    probe = directory / "probe"
    probe.write_bytes(b"")
    try:
        os.setxattr(probe, "user.barman.probe", b"1")
    except OSError:
        return False
    finally:
        probe.unlink()
    return True


def test_wal_is_compressed_then_encrypted_and_the_line_says_both(server, ring, tmp_path):
    deliver(server.incoming, ONE)
    put(server.incoming / "00000002.history", HISTORY.encode())
    server.run("archive-wal")

    assert [line[3:] for line in catalogue(server)] == [["zstd", "gpg"]] * 2
    assert left(server.incoming) == []
    inner = tmp_path / "inner"
    inner.write_bytes(decrypt(stored(server, ONE), ring))
    with inner.open("rb") as file:
        assert open_reader(file, "zstd").read() == segment(ONE)


@pytest.mark.parametrize("compression", [None, "gzip", "custom"])
def test_get_wal_decrypts_with_the_passphrase(server, ring, compression):
    filters = {"custom_compression_filter": "gzip -c", "custom_decompression_filter": "gzip -dc"}
    server.set(compression=compression, **DECRYPTED, **(filters if compression == "custom" else {}))
    deliver(server.incoming, ONE, TWO)
    server.run("archive-wal")
    assert [line[4] for line in catalogue(server)] == ["gpg", "gpg"]

    out = server.home.directory / "out"
    out.mkdir()
    shutil.chown(out, *_owner(server.directory))
    server.run("get-wal", "-o", out, ONE)
    assert (out / ONE).read_bytes() == segment(ONE)
    assert server.run("get-wal", "--peek", 5, ONE).stdout.split() == [ONE, TWO]
    server.run("get-wal", "-o", out, "--gzip", TWO)
    assert zlib.decompress((out / TWO).read_bytes(), 31) == segment(TWO)


def _owner(path):
    status = path.stat()
    return status.st_uid, status.st_gid


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "there is no passphrase for it"),
        ({"encryption_passphrase_command": "echo wrong"}, "cannot decrypt"),
        ({"encryption_passphrase_command": "echo no such vault >&2; exit 3"}, "no such vault"),
    ],
    ids=["none", "wrong", "command fails"],
)
def test_without_the_right_passphrase_get_wal_stops_recovery_with_one_line(server, ring, options, expected):
    deliver(server.incoming, ONE)
    server.run("archive-wal")
    ring.forget()
    server.set(**options)

    result = server.run("get-wal", ONE, check=False)

    assert result.status > 125, "PostgreSQL must not take it for the end of WAL"
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
    assert expected in line
    assert ONE in line
    assert result.stdout == ""


def test_a_key_that_is_not_there_is_one_line_and_everything_stays(server, ring):
    server.set(encryption_key_id="nobody@barman.invalid")
    deliver(server.incoming, ONE, TWO)

    result = server.run("archive-wal", check=False)

    assert result.status == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
    assert all("nobody@barman.invalid" in line and "No public key" in line for line in lines), result
    assert left(server.incoming) == [ONE, TWO]
    assert not [path for path in server.wals.rglob("*") if path.is_file() and path.name != "main-xlog.db"]


def test_without_gpg_one_line_says_so(server, home):
    programs = home.directory / "few"
    programs.mkdir()
    for name in ("sh", "setpriv"):
        (programs / name).symlink_to(shutil.which(name))
    deliver(server.incoming, ONE)

    env = home.environment(PATH=f"{home.programs}:{programs}")
    result = home.run("archive-wal", "main", check=False, env=env)

    assert result.status == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
    assert "gpg" in line
    assert "Install GnuPG" in result.stderr
    assert left(server.incoming) == [ONE]


def test_without_a_key_id_nothing_is_archived(server):
    server.set(encryption_key_id=None)
    deliver(server.incoming, ONE)
    result = server.run("archive-wal", check=False)
    assert result.status == 1
    assert "encryption requires encryption_key_id" in result.stderr
    assert left(server.incoming) == [ONE]


def test_the_second_copy_is_recognised_by_who_can_only_encrypt(server, public_ring):
    if not _supports_marks(server.wals):
        pytest.skip("no extended attributes here")
    deliver(server.streaming, ONE, TWO)
    server.run("archive-wal")
    deliver(server.incoming, ONE)
    put(server.incoming / TWO, segment(TWO, filling=1))

    server.run("archive-wal")

    assert errors(server) == {TWO: "duplicate"}
    assert left(server.incoming) == []
    assert listed(server) == [ONE, TWO]


def test_the_second_copy_is_compared_where_nothing_was_noted(server, ring):
    server.set(**DECRYPTED)
    deliver(server.incoming, ONE, TWO)
    server.run("archive-wal")
    for name in (ONE, TWO):
        _forget_mark(stored(server, name))
    deliver(server.incoming, ONE)
    put(server.incoming / TWO, segment(TWO, filling=1))

    server.run("archive-wal")

    assert errors(server) == {TWO: "duplicate"}
    assert left(server.incoming) == []


def _send(server, name, content):
    """Send a segment as barman-wal-archive does; return how put-wal ended."""
    stream = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=stream) as archive:
        sums = f"{hashlib.sha256(content).hexdigest()} *{name}\n".encode()
        for member, data in ((name, content), ("SHA256SUMS", sums)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return server.home.run("put-wal", server.name, stdin=stream.getvalue(), check=False)


@pytest.mark.parametrize("is_marked", [True, False], ids=["by what was noted", "by decrypting it"])
def test_what_is_sent_again_is_compared_with_what_is_archived_encrypted(server, ring, is_marked):
    if is_marked and not _supports_marks(server.wals):
        pytest.skip("no extended attributes here")
    deliver(server.incoming, ONE)
    server.run("archive-wal")
    if not is_marked:
        server.set(**DECRYPTED)
        _forget_mark(stored(server, ONE))

    assert _send(server, ONE, segment(ONE)).status == 0
    assert left(server.incoming) == []
    refused = _send(server, ONE, segment(ONE, filling=1))

    assert refused.status == 1
    assert "different content" in refused.stderr
    assert errors(server) == {ONE: "duplicate"}
    assert left(server.incoming) == []


def test_what_cannot_be_compared_is_kept(server, public_ring):
    deliver(server.incoming, ONE)
    server.run("archive-wal")
    _forget_mark(stored(server, ONE))
    deliver(server.incoming, ONE)

    server.run("archive-wal")

    assert errors(server) == {ONE: "duplicate"}
    assert "cannot be compared" in server.home.log_text()


def _forget_mark(path):
    for name in os.listxattr(path):
        os.removexattr(path, name)


def test_a_file_the_sender_encrypted_stays_as_it_is(server, ring):
    deliver(server.incoming, ONE)
    server.run("archive-wal")
    encrypted = stored(server, ONE).read_bytes()
    put(server.incoming / TWO, encrypted)
    server.run("archive-wal")
    assert stored(server, TWO).read_bytes() == encrypted
    assert catalogue(server)[-1][3:] == ["None", "gpg"]


def test_what_the_sender_encrypted_may_come_again_to_who_cannot_look_into_it(server, public_ring):
    deliver(server.incoming, ONE, TWO)
    server.run("archive-wal")
    one, two = (stored(server, name).read_bytes() for name in (ONE, TWO))
    # As if archive_command had encrypted them: nothing is noted of what they hold.
    put(server.incoming / THREE, one)
    server.run("archive-wal")
    put(server.incoming / THREE, one)
    server.run("archive-wal")
    assert (errors(server), left(server.incoming)) == ({}, [])
    put(server.incoming / THREE, two)

    server.run("archive-wal")

    assert errors(server) == {THREE: "duplicate"}
    assert stored(server, THREE).read_bytes() == one


def test_damage_is_told_from_a_missing_passphrase(server, ring):
    server.set(**DECRYPTED)
    deliver(server.incoming, ONE)
    server.run("archive-wal")
    path = stored(server, ONE)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    result = server.run("get-wal", ONE, check=False)

    assert result.status > 125
    assert "damaged" in result.stderr


def test_history_files_nobody_can_read_are_told_of_once_and_are_no_defect(server, public_ring):
    third = f"{HISTORY}2\t0/400000\tno recovery target specified\n"
    for timeline, text in ((2, HISTORY), (3, third)):
        put(server.incoming / f"{timeline:08X}.history", text.encode())
    deliver(server.incoming, ONE, name_of(3, timeline=2), name_of(4, timeline=3))
    server.run("archive-wal")

    result = server.run("verify-wal")

    assert "no defect" in result.stdout
    told = [line for line in server.home.log.read_text().splitlines() if "there is no passphrase" in line]
    assert len(told) == 1
    assert "00000002.history is encrypted" in told[0]
    assert "(and 1 more history files)" in told[0]
