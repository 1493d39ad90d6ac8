"""verify-wal --repair: what is missing or damaged comes from the source again; nothing unverified takes its place."""

from __future__ import annotations

import subprocess

import pytest

from barman.postgres.wal_names import segment_name, segment_number
from tests.support.archiving import catalogue, put, stored
from tests.support.gnupg import DECRYPTED, ENCRYPTED, decrypt, needs_gpg
from tests.support.processes import run_for_peak, wait_until
from tests.support.repairing import MIB, content_of, damage, make_archived, remove, verify

# As backups must be that are to be encrypted.
_PACKED = {"backup_compression": "gzip", "backup_compression_format": "tar"}


@pytest.fixture
def archived(home, clusters, installation, request):
    """A server with a backup and segments behind it: (server, cluster, the names of these, what they held)."""
    return make_archived(home, clusters, installation, **getattr(request, "param", {}))


@pytest.mark.pg
def test_what_is_missing_and_damaged_is_fetched_again_by_streaming(archived):
    server, _, names, contents = archived
    remove(server, names[1], names[2])
    stored(server, names[4]).unlink()
    damaged = damage(server, names[5])

    status, found = verify(server, "--deep", "--repair")

    assert (status, found["defects"]) == (0, [])
    assert found["repaired"] == [names[1], names[2], names[4], names[5]]
    assert verify(server, "--deep")[0] == 0
    assert {name: content_of(server, name) for name in names} == contents
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

    status, found = verify(server, "--repair")

    assert (status, found["repaired"]) == (0, [names[0], names[1]])
    assert verify(server)[0] == 0


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
    damaged = damage(server, names[0])
    lost = server.archived_wals()
    remove(server, names[2])

    status, found = verify(server, "--deep", "--repair")

    assert status == 1
    assert {(one["kind"], one["name"]) for one in found["defects"]} >= {("damaged", names[0]), ("gap", names[2])}
    assert all("removed it already" in one["reason"] for one in found["defects"] if one["kind"] in ("damaged", "gap"))
    assert stored(server, names[0]).read_bytes() == damaged
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
        remove(server, name)

    status, found = verify(server, "--repair")

    assert (status, found["repaired"]) == (0, lost)
    assert [content_of(server, name) for name in lost] == [contents[name] for name in lost]
    assert sshd.logins() == 1


@pytest.mark.pg(each=False)
def test_a_copy_of_the_source_that_is_damaged_too_replaces_nothing(archived):
    server, cluster, names, _ = archived
    kept = damage(server, names[3])
    source = cluster.data / "pg_wal" / names[3]
    content = bytearray(source.read_bytes())
    content[MIB // 2] ^= 1
    content[MIB // 2 + 8192] ^= 1
    source.write_bytes(content)

    status, found = verify(server, "--deep", "--repair")

    assert (status, found["repaired"]) == (1, [])
    assert any("the source's own copy is damaged" in one["reason"] for one in found["defects"])
    assert stored(server, names[3]).read_bytes() == kept


@needs_gpg
@pytest.mark.pg(each=False)
@pytest.mark.parametrize("archived", [{**ENCRYPTED, **DECRYPTED, **_PACKED}], indirect=True, ids=["encrypted"])
def test_encrypted_wal_is_looked_into_and_comes_encrypted_again(ring, archived):
    server, _, names, contents = archived
    assert verify(server, "--deep")[0] == 0
    remove(server, names[1])
    damage(server, names[3])
    found = {(one["kind"], one["name"]) for one in verify(server, "--deep")[1]["defects"]}
    assert found == {("gap", names[1]), ("size", names[3]), ("damaged", names[3])}

    status, found = verify(server, "--deep", "--repair")

    assert (status, found["defects"], found["repaired"]) == (0, [], [names[1], names[3]])
    assert {name: content_of(server, name) for name in names} == contents
    assert {line[0]: line[4] for line in catalogue(server)}[names[1]] == "gpg"
    assert decrypt(stored(server, names[1]), ring)


@pytest.fixture
def failed_over(archived, clusters):
    """The server after a failover, with WAL of both timelines: its names from the last ones of the old timeline on."""
    server, cluster, *_ = archived
    standby = clusters.standby_of(cluster)
    standby.configure(wal_keep_size="200MB")
    standby.reload()
    last = [server.close_and_archive(cluster) for _ in range(4)][-2:]
    lsn = cluster.value("select pg_current_wal_lsn()::text")
    wait_until(lambda: standby.value(f"select pg_last_wal_replay_lsn() >= '{lsn}'"), "it has caught up", timeout_s=120)
    cluster.stop()
    standby.promote()
    server.set(conninfo=standby.conninfo(), streaming_conninfo=standby.streaming_conninfo())
    standby.sql("create table more as select n, md5(n::text) as text from generate_series(1, 60000) n")
    server.close_and_archive(standby)
    newer = [name for name in server.archived_wals() if name.startswith("00000002")]
    assert "00000002.history" in newer
    return server, [*last, *newer[:4]]


@pytest.mark.pg
def test_a_hole_over_a_failover_is_filled_from_both_timelines_and_the_history_too(failed_over):
    _require_filled(*failed_over)


@pytest.mark.pg(each=False)
def test_a_hole_over_a_failover_is_filled_over_ssh(failed_over, sshd):
    server, lost = failed_over
    server.set(ssh_command=sshd.command, streaming_conninfo="host=/nonexistent", wal_conninfo="host=/nonexistent")
    _require_filled(server, lost)


def _require_filled(server, lost):
    contents = {name: content_of(server, name) for name in lost}
    # Of the segment in which the timeline forked, the old timeline's file is not needed.
    remove(server, *lost)
    assert verify(server)[0] == 1

    status, found = verify(server, "--repair")

    assert (status, found["defects"]) == (0, [])
    assert set(found["repaired"]) >= set(lost)
    assert {name: content_of(server, name) for name in lost} == contents
    assert verify(server, "--deep")[0] == 0
    assert {line[0] for line in catalogue(server)} == set(server.archived_wals())


@pytest.mark.pg(each=False)
def test_what_of_a_hole_was_filled_is_no_longer_told(archived):
    server, cluster, names, _ = archived
    remove(server, *names[1:4])
    (cluster.data / "pg_wal" / names[2]).write_bytes(bytes(MIB))

    status, found = verify(server, "--repair")

    assert (status, found["repaired"]) == (1, [names[1], names[3]])
    (defect,) = found["defects"]
    assert (defect["name"], defect["last"], defect["files"]) == (names[2], names[2], 1)
    assert "not repaired" in defect["reason"]


@pytest.mark.pg(each=False)
def test_it_waits_for_whoever_archives(archived):
    server, _, names, _ = archived
    remove(server, names[1])
    lock = server.home.path / ".main-archive-wal.lock"
    put(lock, b"")
    with subprocess.Popen(["flock", lock, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdin.write(b"x\n")
        holder.stdin.flush()
        assert holder.stdout.read(1) == b"x"
        process = server.home.start("verify-wal", "--repair", "main")
        wait_until(lambda: "Waiting: another process" in server.home.log_text(), "it waits")
        holder.stdin.close()
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, b"")
    assert f"Repaired WAL file {names[1]}" in out.decode()


@pytest.mark.pg(each=False)
def test_a_million_names_in_a_hole_take_no_memory_and_a_source_without_them_is_asked_once(archived):
    server, _, names, _ = archived
    far = segment_name(1, segment_number(names[-1], MIB) + 1_000_000, MIB)
    stored(server, far).parent.mkdir(exist_ok=True)
    put(stored(server, far), b"x")
    server.run("rebuild-xlogdb")
    with (server.wals / "main-xlog.db").open() as ledger:
        assert far in ledger.read()
    command = server.home.argv("verify-wal", "--repair", "main")

    result, peak_kib = run_for_peak(command, env=server.home.environment(), check=False)

    assert result.status == 1
    assert "999999 WAL files" in result.stderr
    assert "never had it" in result.stderr
    assert peak_kib < 100 * 1024
