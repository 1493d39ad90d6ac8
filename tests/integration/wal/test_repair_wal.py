"""verify-wal --repair: what is missing or damaged comes from the source again; nothing unverified takes its place."""

from __future__ import annotations

import os

import pytest

from tests.support.archiving import catalogue
from tests.support.gnupg import DECRYPTED, ENCRYPTED, decrypt, needs_gpg

MIB = 1 << 20
# As backups must be that are to be encrypted.
_PACKED = {"backup_compression": "gzip", "backup_compression_format": "tar"}


@pytest.fixture
def archived(home, clusters, installation, request):
    """A server with a backup and 8 segments behind it: (server, cluster, the names of these, what they held)."""
    options = dict(getattr(request, "param", {}))
    keeping = (
        {"wal_keep_size": "200MB"} if options.pop("keeping", True) else {"min_wal_size": "2MB", "max_wal_size": "2MB"}
    )
    cluster = clusters.make(installation, segment_size=MIB, settings=keeping)
    server = home.server(
        conninfo=cluster.conninfo(),
        streaming_conninfo=cluster.streaming_conninfo(),
        backup_method="postgres",
        immediate_checkpoint="true",
        archiver="on",
        compression="gzip",
        path_prefix=installation.tools,
        **options,
    )
    server.run("check", check=False)
    cluster.archive_with(server.copy_command())
    server.close_and_archive(cluster)
    server.backup()
    first = server.close_and_archive(cluster)
    cluster.sql("create table filler as select n, md5(n::text) as text from generate_series(1, 120000) n")
    server.close_and_archive(cluster)
    names = [name for name in server.archived_wals() if len(name) == 24 and name > first]
    return server, cluster, names, {name: _content(server, name) for name in names}


def _path(server, name):
    return server.wals / name[:16] / name


def _content(server, name):
    target = server.home.directory / "got"
    server.run("get-wal", "-o", target.parent, name)
    content = (target.parent / name).read_bytes()
    (target.parent / name).unlink()
    return content


def _verify(server, *words):
    result = server.home.run("-f", "json", "verify-wal", "main", *words, check=False)
    return result.status, result.json()["main"]


def _remove(server, *names):
    """Remove files with their lines, as if they had never come."""
    for name in names:
        _path(server, name).unlink()
    server.run("rebuild-xlogdb")


def _damage(server, name):
    path = _path(server, name)
    os.truncate(path, path.stat().st_size - 100)
    return path.read_bytes()


@pytest.mark.pg
def test_what_is_missing_and_damaged_is_fetched_again_by_streaming(archived):
    server, _, names, contents = archived
    _remove(server, names[1], names[2])
    _path(server, names[4]).unlink()
    damaged = _damage(server, names[5])

    status, found = _verify(server, "--deep", "--repair")

    assert (status, found["defects"]) == (0, [])
    assert found["repaired"] == [names[1], names[2], names[4], names[5]]
    assert _verify(server, "--deep")[0] == 0
    assert {name: _content(server, name) for name in names} == contents
    (kept,) = (server.directory / "errors").iterdir()
    assert kept.name.startswith(names[5])
    assert kept.name.endswith(".damaged")
    assert kept.read_bytes() == damaged
    assert not list(server.directory.glob(".repair-*"))


@pytest.mark.pg(each=False)
def test_a_size_that_is_wrong_in_the_list_is_corrected_and_a_file_that_is_not_listed_gets_its_line(archived):
    server, _, names, _ = archived
    ledger = server.wals / "main-xlog.db"
    lines = [line for line in ledger.read_text().splitlines(keepends=True) if not line.startswith(names[0])]
    ledger.write_text("".join(line.replace(names[1] + "\t", names[1] + "\t9") for line in lines))

    status, found = _verify(server, "--repair")

    assert (status, found["repaired"]) == (0, [names[0], names[1]])
    assert _verify(server)[0] == 0


@pytest.mark.pg(each=False)
@pytest.mark.parametrize("archived", [{"keeping": False}], indirect=True, ids=["not kept"])
def test_what_the_source_has_no_more_stays_a_defect_and_says_why(archived):
    server, cluster, names, _ = archived
    cluster.sql("checkpoint")
    for _ in range(4):
        server.close_and_archive(cluster)
        cluster.sql("checkpoint")
    last = server.close_and_archive(cluster)
    there = {row[0] for row in cluster.sql("select name from pg_ls_waldir()")}
    assert names[0] not in there
    damaged = _damage(server, names[0])
    lost = server.archived_wals()
    _remove(server, names[2])

    status, found = _verify(server, "--deep", "--repair")

    assert status == 1
    assert {(one["kind"], one["name"]) for one in found["defects"]} >= {("damaged", names[0]), ("gap", names[2])}
    assert all("removed" in one["reason"] for one in found["defects"] if one["kind"] in ("damaged", "gap"))
    assert _path(server, names[0]).read_bytes() == damaged
    assert last in lost


@pytest.mark.pg(each=False)
@pytest.mark.parametrize("known", [True, False], ids=["known host", "new host"])
def test_without_streaming_all_comes_over_one_login(archived, sshd, known):
    server, cluster, names, contents = archived
    server.set(ssh_command=sshd.command, streaming_conninfo=cluster.streaming_conninfo() + " dbname=nothing port=1")
    if known:
        sshd.make_known()
    # Not one run, so fetched in portions.
    lost = [names[1], names[3]]
    for name in lost:
        _remove(server, name)

    status, found = _verify(server, "--repair")

    assert (status, found["repaired"]) == (0, lost)
    assert [_content(server, name) for name in lost] == [contents[name] for name in lost]
    assert sshd.logins() == 1


@pytest.mark.pg(each=False)
def test_a_copy_of_the_source_that_is_damaged_too_replaces_nothing(archived):
    server, cluster, names, _ = archived
    kept = _damage(server, names[3])
    source = cluster.data / "pg_wal" / names[3]
    content = bytearray(source.read_bytes())
    content[MIB // 2] ^= 1
    content[MIB // 2 + 8192] ^= 1
    source.write_bytes(content)

    status, found = _verify(server, "--deep", "--repair")

    assert (status, found["repaired"]) == (1, [])
    assert any("the source's own copy is damaged" in one["reason"] for one in found["defects"])
    assert _path(server, names[3]).read_bytes() == kept


@needs_gpg
@pytest.mark.pg(each=False)
@pytest.mark.parametrize("archived", [{**ENCRYPTED, **DECRYPTED, **_PACKED}], indirect=True, ids=["encrypted"])
def test_encrypted_wal_is_looked_into_and_comes_encrypted_again(ring, archived):
    server, _, names, contents = archived
    assert _verify(server, "--deep")[0] == 0
    _remove(server, names[1])
    _damage(server, names[3])
    found = {(one["kind"], one["name"]) for one in _verify(server, "--deep")[1]["defects"]}
    assert found == {("gap", names[1]), ("size", names[3]), ("damaged", names[3])}

    status, found = _verify(server, "--deep", "--repair")

    assert (status, found["defects"], found["repaired"]) == (0, [], [names[1], names[3]])
    assert {name: _content(server, name) for name in names} == contents
    assert {line[0]: line[4] for line in catalogue(server)}[names[1]] == "gpg"
    assert decrypt(_path(server, names[1]), ring)
