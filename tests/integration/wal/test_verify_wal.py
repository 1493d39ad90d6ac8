"""verify-wal on the WAL of a real PostgreSQL: what is whole is found whole, and what is not is named."""

from __future__ import annotations

import gzip
import os

import pytest

from tests.support.users import give

MIB = 1 << 20


@pytest.fixture
def archived(home, clusters, installation, request):
    """A server with segments of all kinds of content in its archive: (server, cluster, names)."""
    size, options = getattr(request, "param", (MIB, {}))
    cluster = clusters.make(
        installation, segment_size=size, settings={"wal_keep_size": "200MB"} if installation.major >= 13 else {}
    )
    server = home.delivering(cluster, **options)
    cluster.sql("create table filler as select n, md5(n::text) as text from generate_series(1, 20000) n")
    cluster.sql("select pg_switch_wal()")
    cluster.sql("insert into filler select n, md5(n::text) from generate_series(1, 20000) n")
    cluster.sql("checkpoint; update filler set text = text || 'x' where n < 3000")
    server.close_and_archive(cluster)
    return server, cluster, server.archived_wals()


def _verify(server, *words):
    result = server.home.run("-f", "json", "verify-wal", "main", *words, check=False)
    found = result.json()
    assert found["main"]["ok"] is (result.status == 0)
    return found["main"]


def _defects(server, *words):
    return [(one["kind"], one["name"]) for one in _verify(server, *words)["defects"]]


def _path(server, name):
    return server.wals / name[:16] / name


def _change(path, change, *, packed=False):
    status = path.stat()
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    change(content)
    path.write_bytes(gzip.compress(content) if packed else content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _flip(offset):
    def change(content):
        content[offset] ^= 1

    return change


@pytest.mark.pg
def test_an_archive_that_is_whole_is_found_whole(archived):
    server, _, names = archived
    _require_whole(server, names)


@pytest.mark.pg(each=False)
@pytest.mark.parametrize("archived", [(16 * MIB, {"compression": "gzip"})], indirect=True, ids=["16MB"])
def test_an_archive_of_larger_compressed_segments_is_found_whole(archived):
    server, _, names = archived
    _require_whole(server, names)


def _require_whole(server, names):
    quick, deep = _verify(server), _verify(server, "--deep", "-j", "2")

    assert (quick["defects"], deep["defects"]) == ([], [])
    assert quick["files"] == deep["files"] == deep["looked_into"] == len(names)
    assert quick["looked_into"] == 0


@pytest.mark.pg(each=False)
def test_files_and_list_are_compared_both_ways(archived):
    server, _, names = archived
    segments = [name for name in names if len(name) == 24]
    _path(server, segments[0]).unlink()
    with (server.wals / "main-xlog.db").open("r+") as ledger:
        lines = [line for line in ledger if not line.startswith(segments[1])]
        ledger.seek(0)
        ledger.writelines(lines)
        ledger.truncate()
    with _path(server, segments[2]).open("ab") as file:
        file.write(b"more")
    stranger = _path(server, segments[2]).with_name("notes.txt")
    stranger.write_text("mine")
    give(stranger)

    assert _defects(server) == [
        ("missing", segments[0]),
        ("unlisted", segments[1]),
        ("size", segments[2]),
        ("unknown", f"{segments[2][:16]}/notes.txt"),
    ]
    text = server.run("verify-wal", check=False)
    assert f"missing: {segments[0]}" in text.stderr
    assert text.stdout.splitlines()[-1].endswith(": 4 defects")


@pytest.mark.pg("< 15")
@pytest.mark.parametrize("archived", [(MIB, {"compression": "gzip"})], indirect=True, ids=["gzip"])
def test_a_deep_look_finds_a_changed_record_a_zeroed_page_and_a_torn_file(archived):
    server, _, names = archived
    segments = [name for name in names if len(name) == 24]
    torn, zeroed, flipped = segments[1], segments[3], segments[5]
    _change(
        _path(server, zeroed), lambda content: content.__setitem__(slice(8192 * 9, 8192 * 10), bytes(8192)), packed=True
    )
    _change(_path(server, flipped), _flip(8192 * 20 + 9), packed=True)
    os.truncate(_path(server, torn), 1000)

    assert _defects(server) == [("size", torn), ("size", zeroed), ("size", flipped)]
    assert sorted(name for kind, name in _defects(server, "--deep") if kind == "damaged") == [torn, zeroed, flipped]


@pytest.mark.pg(own_tools=True)
def test_with_pg_waldump_one_changed_bit_of_any_record_is_found(archived):
    server, _, names = archived
    segments = [name for name in names if len(name) == 24]
    # In the middle of what records say, where no header and no link is; and in one that goes on in the next segment.
    _change(_path(server, segments[2]), _flip(MIB // 2 + 1234))
    _change(_path(server, segments[4]), _flip(MIB - 3))

    found = _verify(server, "--deep")

    assert found["checksums"] is True
    damaged = {one["name"] for one in found["defects"]}
    assert {segments[2]} < damaged <= {segments[2], segments[4], segments[5]}


@pytest.mark.pg(each=False)
def test_a_hole_is_a_defect_when_a_backup_needs_it(archived):
    server, cluster, _ = archived
    server.backup()
    server.close_and_archive(cluster)
    needed = server.close_and_archive(cluster)
    last = server.close_and_archive(cluster)
    _path(server, needed).unlink()
    server.run("rebuild-xlogdb")

    found = _verify(server)

    assert [(one["kind"], one["name"], one["last"], one["files"]) for one in found["defects"]] == [
        ("gap", needed, needed, 1)
    ]
    assert last in server.archived_wals()


@pytest.mark.pg
def test_crashes_shutdowns_and_promotions_leave_wal_that_is_whole(archived, clusters):
    server, cluster, _ = archived
    cluster.sql("update filler set text = text || 'y' where n < 5000")
    cluster.crash()
    cluster.start()
    cluster.sql("update filler set text = text || 'z' where n < 5000")
    cluster.restart()
    server.backup()
    server.close_and_archive(cluster)
    standby = clusters.standby_of(cluster)
    standby.configure(primary_conninfo="")
    standby.restart()
    cluster.sql("update filler set text = text || 'a' where n < 9000")
    standby.promote()
    standby.wait_until_recovered()
    standby.sql("update filler set text = text || 'b' where n < 9000")
    server.close_and_archive(standby)

    found = _verify(server, "--deep")

    assert found["defects"] == []
    assert any(name.startswith("00000002") for name in server.archived_wals())
    assert (
        server.home.run("-f", "json", "check", "main", check=False).json()["main"]["wal_continuity"]["status"] == "OK"
    )
