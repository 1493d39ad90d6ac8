"""A passive node and its primary, both ours: what cron brings over, and what becomes of it."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from barman.catalog.page_report import DamagedPage, make_report, render_report
from tests.support.archiving import archiving_server, catalogue, listed
from tests.support.catalogs import HISTORY, HandMade, backup_id, segment
from tests.support.passive import archive, login_to, passive_server, tree
from tests.support.processes import run
from tests.support.sshd import is_ssh_possible
from tests.support.users import give
from tests.support.wal import HISTORY as HISTORY_TEXT
from tests.support.wal import page_header

pytestmark = pytest.mark.skipif(not is_ssh_possible(), reason="sshd or rsync is not installed")


@pytest.fixture
def made(primary):
    """Its two backups and their WAL, made by hand."""
    made = HandMade(primary.directory)
    made.make_directories()
    made.add_backup(1, 1, 2, backup_name="weekly", backup_label="START WAL LOCATION: x\nLABEL: y\n")
    made.add_backup(2, 4, 5)
    made.add_wal([segment(number) for number in range(1, 8)], page_header)
    return made


def _statuses(server):
    return {one["backup_id"]: one["status"] for one in server.json("list-backups")["main"]}


def _record(server, one):
    path = server.directory / "meta" / f"{one}-backup.info"
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def test_one_tick_brings_over_everything(primary, node):
    said = node.home.cron().stdout
    assert f"Starting copy of backup {backup_id(2)} for server main" in said
    assert "Started copy of WAL files for server main" in said
    for number in (1, 2):
        assert tree(node.base / backup_id(number)) == tree(primary.base / backup_id(number))
    assert archive(node) == archive(primary)
    assert catalogue(node) == catalogue(primary)
    assert node.home.cron().text == ""
    assert "is a passive" not in node.home.log_text()


def test_a_primary_without_backups_keeps_nothing_busy(primary, made, node):
    for number in (1, 2):
        made.paths.record_file(backup_id(number)).unlink()
        shutil.rmtree(primary.base / backup_id(number))
    assert node.home.cron().text == ""
    made.add_backup(1, 1, 2)
    node.home.cron()
    assert catalogue(node) == catalogue(primary)
    assert node.home.cron().text == ""


def test_what_was_found_in_the_pages_comes_along(primary, node):
    name = f"{backup_id(1)}-pages.json"
    report = primary.directory / "meta" / name
    report.write_bytes(render_report(make_report(5, [DamagedPage("pgdata", "base/1/1259", 3)])))
    give(report)
    node.home.cron()
    assert (node.directory / "meta" / name).read_bytes() == report.read_bytes()
    assert "base/1/1259: block 3" in node.run("show-backup", backup_id(1)).stdout


def test_the_record_is_the_primary_s(primary, node):
    node.home.cron()
    for number in (1, 2):
        here, there = _record(node, backup_id(number)), _record(primary, backup_id(number))
        measured = {"size", "deduplicated_size"}
        assert {key: here[key] for key in here if key not in measured} == {
            key: there[key] for key in there if key not in measured
        }
    assert node.json("show-backup", "weekly")["main"]["backup_id"] == backup_id(1)


def test_what_comes_later_comes_with_the_next_tick(made, primary, node):
    node.home.cron()
    made.add_wal([segment(8)], page_header)
    node.home.cron()
    assert segment(8) in listed(node)
    made.add_backup(3, 9, 9)
    made.add_wal([segment(9)], page_header)
    node.home.cron()
    assert _statuses(node)[backup_id(3)] == "DONE"
    assert catalogue(node) == catalogue(primary)


def test_wal_that_arrived_late_at_the_primary_arrives_here(made, primary, node):
    node.home.cron()
    made.add_wal([segment(10)], page_header)
    node.home.cron()
    made.add_wal([segment(9), segment(8)], page_header)
    node.home.cron()
    assert sorted(listed(node)) == sorted(listed(primary))
    # whoever reads the ledger here finds it in order
    assert [line[0] for line in catalogue(node)] == sorted(listed(primary))


def test_wal_that_is_behind_a_ledger_written_anew_arrives_too(made, primary, node):
    node.home.cron()
    made.add_wal([segment(10)], page_header)
    node.home.cron()
    made.add_wal([segment(9)], page_header)
    primary.run("rebuild-xlogdb")
    node.home.cron()
    assert sorted(listed(node)) == sorted(listed(primary))


def test_hard_links_between_backups_are_kept(made, primary, node):
    files = [path for path in made.files_of(backup_id(1)) if path.name == "PG_VERSION"]
    for number in (3, 4):
        made.add_backup(number, 6, 7, mode="rsync-concurrent")
    shared = files[0].relative_to(made.paths.backup_dir(backup_id(1)))
    ours = [primary.base / backup_id(number) / shared for number in (3, 4)]
    ours[1].unlink()
    os.link(ours[0], ours[1])
    os.utime(ours[0], (1_600_000_000, 1_600_000_000))
    node.home.cron()
    theirs = [(node.base / backup_id(number) / shared).stat() for number in (3, 4)]
    assert theirs[0].st_ino == theirs[1].st_ino
    assert [one.st_nlink for one in theirs] == [2, 2]
    assert int(_record(node, backup_id(3))["deduplicated_size"]) < int(_record(node, backup_id(3))["size"])


def test_a_chain_is_copied_from_its_root_and_newest_first(make_home, primary, sshd):
    made = HandMade(primary.directory)
    made.make_directories()
    made.add_backup(1, 1, 1)
    made.add_backup(2, 2, 2, parent_backup_id=backup_id(1))
    made.add_backup(3, 3, 3)
    made.add_backup(4, 4, 4, parent_backup_id=backup_id(2))
    made.add_wal([segment(number) for number in range(1, 5)], page_header)
    node = passive_server(make_home("passive"), primary, sshd, retention_policy="REDUNDANCY 5")
    node.home.cron()
    order = [
        line.split("copying backup ")[1][:15] for line in node.home.log_text().splitlines() if "copying backup" in line
    ]
    assert order == [backup_id(1), backup_id(2), backup_id(4), backup_id(3)]
    assert set(_statuses(node).values()) == {"DONE"}
    assert _record(node, backup_id(2))["children_backup_ids"] == backup_id(4)
    node.home.cron()
    assert len(_statuses(node)) == 4


def test_keep_marks_come_along_and_follow_until_they_are_changed_here(primary, node):
    first, second = backup_id(1), backup_id(2)
    primary.run("keep", first, "--target", "standalone")
    node.home.cron()

    def kept(one):
        return node.run("keep", "--status", one).stdout.split()[-1]

    assert (kept(first), kept(second)) == ("standalone", "nokeep")
    primary.run("keep", second, "--target", "full")
    assert json.loads(node.run("sync-info", "--primary").stdout)["keeps"] == {first: "standalone", second: "full"}
    assert kept(second) == "full"
    node.run("keep", "--release", second)
    node.home.cron()
    assert kept(second) == "nokeep"
    primary.run("keep", "--release", first)
    node.home.cron()
    assert kept(first) == "nokeep"


def test_what_the_primary_deletes_stays_here(primary, node):
    node.home.cron()
    primary.run("delete", backup_id(1))
    assert segment(1) not in listed(primary)
    node.home.cron()
    assert _statuses(node) == {backup_id(1): "DONE", backup_id(2): "DONE"}
    assert segment(1) in listed(node)


def test_the_retention_policy_here_decides_what_is_copied_and_stays(primary, node):
    node.set(retention_policy="REDUNDANCY 1")
    node.home.cron()
    assert _statuses(node) == {backup_id(2): "DONE"}
    assert listed(node) == [segment(number) for number in range(4, 8)]
    node.home.cron()
    assert "nothing" not in node.json("status")["main"]["synchronisation"]["message"]
    node.set(retention_policy="REDUNDANCY 3")
    node.home.cron()
    assert set(_statuses(node)) == {backup_id(1), backup_id(2)}
    assert catalogue(node) == catalogue(primary)


def test_a_copy_of_what_the_primary_deleted_meanwhile_is_removed(made, primary, node):
    node.run("sync-info", "--primary")
    made.write_record(_interrupted(node, made))
    shutil.rmtree(primary.base / backup_id(1))
    (primary.directory / "meta" / f"{backup_id(1)}-backup.info").unlink()
    node.home.cron()
    assert _statuses(node) == {backup_id(2): "DONE"}
    assert not (node.base / backup_id(1)).exists()


def _interrupted(node, made):
    """Leave what a killed copy of the first backup leaves."""
    directory = node.directory / "meta"
    directory.mkdir(parents=True, exist_ok=True)
    shutil.chown(directory, *_owner(node))
    text = made.paths.record_file(backup_id(1)).read_text().replace("status=DONE", "status=SYNCING")
    path = directory / f"{backup_id(1)}-backup.info"
    path.write_text(text)
    shutil.chown(path, *_owner(node))
    partial = node.base / backup_id(1) / "data"
    for one in (node.base, node.base / backup_id(1), partial):
        one.mkdir(exist_ok=True)
        shutil.chown(one, *_owner(node))
    return made.backups.get(backup_id(1))


def _owner(node):
    status = node.home.path.stat()
    return status.st_uid, status.st_gid


def test_a_passive_node_of_a_passive_node(make_home, primary, node):
    node.home.cron()
    between = login_to(node.home)
    try:
        last = passive_server(make_home("last"), node, between)
        last.home.cron()
        assert tree(last.base / backup_id(1)) == tree(primary.base / backup_id(1))
        assert catalogue(last) == catalogue(primary)
        assert _record(last, backup_id(1))["mode"] == "postgres"
    finally:
        between.close()


def test_two_primaries_in_one_passive_host(make_home, primary, node):
    other = archiving_server(make_home("other"), "second")
    made = HandMade(other.directory, "second")
    made.make_directories()
    made.add_backup(5, 1, 1, systemid="7710494768521591595")
    made.add_wal([segment(1)], page_header)
    sshd = login_to(other.home)
    try:
        second = passive_server(node.home, other, sshd)
        node.home.cron()
        assert catalogue(node) == catalogue(primary)
        assert catalogue(second) == catalogue(other)
    finally:
        sshd.close()


def test_history_files_come_along(made, primary, node):
    made.add_wal([HISTORY, segment(8, 2)], lambda name: HISTORY_TEXT.encode() if name == HISTORY else page_header(name))
    node.home.cron()
    assert archive(node) == archive(primary)


def test_check_and_status_tell_how_far_behind_it_is(made, node):
    node.home.cron()
    said = node.run("check", check=False).stdout
    assert "\tssh: OK (Barman primary node)\n" in said
    assert "\tsynchronisation: OK (up to date; heard of the primary " in said
    made.add_wal([segment(8)], page_header)
    made.add_backup(3, 8, 8)
    node.run("sync-info", "--primary")
    status = node.json("status")["main"]
    assert status["synchronisation"]["message"].startswith("behind by 1 backup (1000 B) and 1 WAL file (40 B)")
    assert [status[f"{key}_behind"]["message"] for key in ("backups", "wals", "bytes")] == ["1", "1", "1040"]
    assert int(status["seconds_behind"]["message"]) > 0


def test_commands_that_need_postgresql_or_a_primary_say_so(primary, node):
    assert "passive" in node.run("backup").text
    for command, words in (("sync-wals", ()), ("sync-backup", (backup_id(1),)), ("sync-info", ("--primary",))):
        result = primary.run(command, *words, check=False)
        assert result.status == 1
        assert "is not passive" in result.stderr
    result = node.run("sync-wals", check=False)
    assert (result.status, "was never asked" in result.stderr) == (1, True)
    assert node.run("sync-backup", "latest", check=False).status == 1


def test_wal_is_given_from_a_passive_node_and_not_taken(made, primary, node):
    name = segment(8)
    made.add_wal([name], lambda name: page_header(name).ljust(16 << 20, b"\0"))
    node.home.cron()
    given = node.home.run("get-wal", "main", name, "-o", node.directory, check=False)
    assert given.status == 0, given
    assert (node.directory / name).read_bytes() == archive(primary)[name]
    refused = node.home.run("put-wal", "main", check=False)
    assert refused.status == 1
    assert "server 'main' is passive here: nobody would archive WAL that is put into it" in refused.stderr
    assert "HINT: Have PostgreSQL archive to the primary" in refused.stderr


def test_the_primary_s_backups_are_offered_for_completion(node):
    def offered(begin):
        words = f"barman -c {node.home.conf} sync-backup main {begin}"
        asked = {"_BARMAN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "5"}
        return run(node.home.argv()[:1], env={**node.home.environment(), **asked}).stdout.split()

    assert offered("") == ["plain,all"]
    node.run("sync-info", "--primary")
    assert offered("2") == [f"plain,{backup_id(number)}" for number in (2, 1)]


def test_backups_and_wal_by_hand(primary, node):
    node.run("sync-info", "--primary")
    node.run("sync-backup", backup_id(1))
    # with the WAL it needs: it can be restored
    assert _statuses(node) == {backup_id(1): "DONE"}
    assert listed(node) == [segment(1), segment(2)]
    node.run("sync-wals")
    assert catalogue(node) == catalogue(primary)
    assert "already synced" in node.run("sync-backup", backup_id(1)).stdout


def test_every_process_logs_in_once(node, sshd):
    def logins():
        return (sshd.directory / "sshd.log").read_text().count("Accepted publickey")

    # cron, sync-wals, and sync-backup for two backups
    node.home.cron()
    assert logins() == 3
    node.home.cron()
    assert logins() == 4


def test_sync_info_says_what_is_new(made, primary, node):
    document = json.loads(primary.run("sync-info").stdout)
    assert list(document) == ["last_position", "last_name", "backups", "wals", "version", "config"]
    assert document["last_name"] == segment(7)
    position = (document["last_name"], str(document["last_position"]))
    assert json.loads(primary.run("sync-info", *position).stdout)["wals"] == []
    made.add_wal([segment(8)], page_header)
    for words in (position, position[:1], (position[0], "0"), (position[0], "7")):
        answer = json.loads(primary.run("sync-info", *words).stdout)
        assert [wal["name"] for wal in answer["wals"]] == [segment(8)]
    for name in (segment(0), segment(99)):
        result = primary.run("sync-info", name, check=False)
        assert (result.status, result.stdout) == (1, "")
    assert primary.json("sync-info", *position).keys() == document.keys()


@pytest.mark.pg("< 18", each=False, own_tools=True)
def test_it_restores_to_a_moment_when_primary_and_postgresql_are_gone(make_home, cluster, clusters, scratch):
    cluster.tablespace("cold")
    cluster.load(500)
    home = make_home("primary")
    server = home.streaming(cluster, compression="gzip")
    server.start_streaming(cluster)
    sshd = login_to(home)
    node = passive_server(make_home("passive"), server, sshd, path_prefix=cluster.installation.tools)
    backup = server.backup("--wait", "--wait-timeout", "60")
    cluster.load(500)
    expected = cluster.checksums()
    before = str(cluster.value("select clock_timestamp()"))
    cluster.sql("drop table notes")
    server.close_and_archive(cluster)
    node.home.cron()
    assert tree(node.base / backup) == tree(server.base / backup)
    node.run("verify-backup", backup)

    sshd.close()
    cluster.crash()
    server.run("receive-wal", "--stop", check=False)
    shutil.rmtree(home.path)
    words = ("--target-time", before, "--target-action", "promote", "--tablespace", f"cold:{scratch / 'r' / 'cold'}")
    restored = clusters.recover(cluster.installation, node.restore(backup, scratch / "r" / "data", *words))
    assert restored.checksums() == expected


@pytest.mark.pg(">= 17", each=False, own_tools=True)
def test_a_chain_of_incremental_backups_is_restored_here(make_home, cluster, clusters, scratch):
    cluster.configure(summarize_wal="on")
    cluster.restart()
    cluster.tablespace("cold")
    cluster.sql("create table chilled (id int) tablespace cold")
    home = make_home("primary")
    server = home.streaming(cluster)
    server.start_streaming(cluster)
    sshd = login_to(home)
    try:
        node = passive_server(make_home("passive"), server, sshd, path_prefix=cluster.installation.tools)
        cluster.load(300)
        root = server.backup("--wait", "--wait-timeout", "60")
        for _ in range(2):
            cluster.load(300)
            cluster.sql("insert into chilled select generate_series(1, 100)")
            last = server.backup("--incremental", "latest", "--wait", "--wait-timeout", "60")
        server.close_and_archive(cluster)
        expected = cluster.checksums()
        node.home.cron()
    finally:
        sshd.close()
    cluster.crash()
    assert set(_statuses(node).values()) == {"DONE"}
    assert _record(node, root)["children_backup_ids"] != "None"
    words = ("--tablespace", f"cold:{scratch / 'chain' / 'cold'}")
    restored = clusters.recover(cluster.installation, node.restore(last, scratch / "chain" / "data", *words))
    assert restored.checksums() == expected
