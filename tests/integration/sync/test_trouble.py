"""A passive node in trouble: what is damaged, what cannot be reached or understood, and who is not who he was."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime, timedelta, timezone

import pytest

from tests.support import file_systems
from tests.support.archiving import catalogue, listed, stored
from tests.support.catalogs import HandMade, backup_id, segment
from tests.support.passive import archive, tree
from tests.support.processes import wait_until
from tests.support.sshd import is_ssh_possible
from tests.support.users import give
from tests.support.wal import page_header

pytestmark = pytest.mark.skipif(not is_ssh_possible(), reason="sshd or rsync is not installed")

_BACKUP = backup_id(1)


@pytest.fixture
def made(primary):
    """Its backup and WAL, made by hand."""
    made = HandMade(primary.directory)
    made.make_directories()
    made.add_backup(1, 1, 2)
    made.add_wal([segment(number) for number in range(1, 6)], page_header)
    return made


def _statuses(server):
    return {one["backup_id"]: one["status"] for one in server.json("list-backups")["main"]}


def _cron(node):
    """Run cron, which is expected to complain, and return what it says."""
    result = node.home.run("cron", check=False)
    assert result.status == 1
    assert "Traceback" not in result.text
    return result.stderr


def _change(path):
    """Change the content of a file, and neither its size nor its time."""
    status = path.stat()
    content = path.read_bytes()
    path.write_bytes(bytes(255 - byte for byte in content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _make_older(path, age):
    status = path.stat()
    os.utime(path, (status.st_atime, status.st_mtime - age.total_seconds()))


# Damage


def test_a_damaged_file_here_is_found_and_fetched_again(primary, node):
    node.home.cron()
    _change(node.base / _BACKUP / "data" / "base" / "1" / "1259")
    (node.base / _BACKUP / "data" / "PG_VERSION").unlink()
    said = node.run("sync-backup", _BACKUP)
    assert f"file data/base/1/1259 of backup {_BACKUP} of server main was not as on the primary" in said.stderr
    assert f"file data/PG_VERSION of backup {_BACKUP} of server main is not as on the primary" in said.stderr
    assert tree(node.base / _BACKUP) == tree(primary.base / _BACKUP)
    assert node.run("sync-backup", _BACKUP).stderr == ""


def test_files_of_a_backup_that_are_gone_are_copied_again(primary, node):
    node.home.cron()
    shutil.rmtree(node.base / _BACKUP)
    node.home.cron()
    assert tree(node.base / _BACKUP) == tree(primary.base / _BACKUP)


def test_wal_that_is_missing_or_cut_here_is_fetched_again(primary, node):
    node.home.cron()
    stored(node, segment(2)).unlink()
    stored(node, segment(3)).write_bytes(b"cut")
    said = node.run("sync-wals").stderr
    assert f"WAL file {segment(2)} of server main is missing; fetching it again" in said
    assert f"WAL file {segment(3)} of server main has 3 bytes instead of 40; fetching it again" in said
    assert archive(node) == archive(primary)
    assert catalogue(node) == catalogue(primary)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"cut", "it has 3 bytes, and 40 in the ledger there", id="cut"),
        pytest.param(page_header(segment(9)), "content does not match the name", id="another segment"),
        pytest.param(None, "it is missing there", id="missing"),
    ],
)
def test_wal_that_is_damaged_on_the_primary_is_told_until_it_is_good(primary, node, content, reason):
    bad = stored(primary, segment(4))
    status = bad.stat()
    if content is None:
        bad.unlink()
    else:
        bad.write_bytes(content)
    node.run("sync-info", "--primary")
    node.run("sync-backup", "all")
    for _ in range(2):
        result = node.run("sync-wals", check=False)
        assert result.status == 1
        assert segment(4) in result.stderr
        assert reason in result.stderr
    assert listed(node) == [segment(number) for number in (1, 2, 3, 5)]
    bad.write_bytes(page_header(segment(4)))
    give(bad)
    os.utime(bad, ns=(status.st_atime_ns, status.st_mtime_ns))
    node.home.cron()
    assert catalogue(node) == catalogue(primary)


@pytest.mark.pg("< 18", each=False, own_tools=True)
def test_a_file_that_is_damaged_on_the_primary_fails_the_copy_until_it_is_good(made, primary, node, installation):
    node.set(path_prefix=installation.tools)
    primary.run("generate-manifest", _BACKUP)
    bad = primary.base / _BACKUP / "data" / "base" / "1" / "1259"
    _change(bad)
    node.run("sync-info", "--primary")
    result = node.run("sync-backup", _BACKUP, check=False)
    assert result.status == 1
    assert f"WARNING: file data/base/1/1259 of backup {_BACKUP} of server main is damaged; fetching it again" in (
        result.stderr
    )
    assert f"1 files of backup {_BACKUP} are damaged or missing on the primary: data/base/1/1259" in result.stderr
    assert _statuses(node) == {_BACKUP: "FAILED"}
    assert f"backup {_BACKUP}: copy from the primary failed" in node.run("check", check=False).stdout
    # To compare all of it once more every minute would not mend it.
    assert "Starting copy" not in node.home.cron().stdout
    assert f"backup {_BACKUP} of server main is not tried again before" in node.run("sync-backup", "all").stdout
    _change(bad)
    _make_older(node.directory / "meta" / f"{_BACKUP}-backup.info", timedelta(hours=1))
    node.home.cron()
    assert _statuses(node) == {_BACKUP: "DONE"}
    _change(node.base / _BACKUP / "data" / "base" / "1" / "1259")
    assert "is damaged; fetching it again" in node.run("sync-backup", _BACKUP).stderr
    assert tree(node.base / _BACKUP) == tree(primary.base / _BACKUP)


# Nobody there, or somebody else


def test_a_primary_that_cannot_be_reached_is_told_and_tried_again(made, primary, sshd, node):
    node.home.cron()
    sshd.close()
    made.add_wal([segment(6)], page_header)
    assert "server main: cannot log in to" in _cron(node)
    assert _statuses(node) == {_BACKUP: "DONE"}
    assert "ssh: FAILED (" in node.run("check", check=False).stdout
    sshd.start()
    node.home.cron()
    assert segment(6) in listed(node)


def test_a_primary_that_cannot_be_reached_is_tried_once_for_all_its_servers(node):
    tried = node.home.directory / "tried"
    ssh = node.home.directory / "ssh"
    ssh.write_text(f"""#!/bin/sh
[ "$1" = -G ] || [ "$2" = -G ] || [ "$4" = -G ] || echo . >>{tried}
exit 255
""")
    give(ssh, 0o755)
    for name in ("main", "other", "third"):
        node.home.server(name, primary_ssh_command=f"{ssh} backup1", description="a copy")
    said = _cron(node)
    for name in ("main", "other", "third"):
        assert f"server {name}: cannot log in to backup1" in said
    assert tried.read_text() == ".\n"


def test_retention_goes_on_while_the_primary_is_away(made, sshd, node):
    made.add_backup(2, 3, 4)
    node.home.cron()
    sshd.close()
    node.set(retention_policy="REDUNDANCY 1")
    _cron(node)
    assert _statuses(node) == {backup_id(2): "DONE"}


def test_a_copied_backup_whose_wal_has_come_becomes_done_while_the_primary_is_away(sshd, node):
    node.home.cron()
    record = node.directory / "meta" / f"{_BACKUP}-backup.info"
    record.write_text(record.read_text().replace("status=DONE", "status=WAITING_FOR_WALS"))
    sshd.close()
    _cron(node)
    wait_until(lambda: _statuses(node) == {_BACKUP: "DONE"}, "the backup is DONE")


def test_a_primary_without_barman_is_told(node, sshd):
    (sshd.directory / "sshd_config").write_text(
        (sshd.directory / "sshd_config").read_text().replace(str(node.home.programs), "/nowhere")
    )
    sshd.close()
    sshd.start()
    assert "there is no barman on the primary" in _cron(node)


def test_another_cluster_of_the_same_name_is_refused(made, primary, node):
    node.home.cron()
    before = (archive(node), tree(node.base))
    shutil.rmtree(primary.base / _BACKUP)
    made.paths.record_file(_BACKUP).unlink()
    made.add_backup(7, 3, 4, systemid="7710494768521591595")
    said = _cron(node)
    assert "another cluster (system identifier 7710494768521591595)" in said
    assert (archive(node), tree(node.base)) == before
    assert "synchronisation: OK" in node.run("check", check=False).stdout


def test_a_clock_that_is_ahead_is_told(made, node):
    made.add_backup(2, 3, 4, end_time=datetime.now(timezone.utc) + timedelta(hours=2))
    node.home.cron()
    assert "its clock is at least 1 hour, 59 minutes" in node.run("check", check=False).stdout


# Answers


@pytest.fixture
def answering(primary, node, sshd):
    """A function that makes the primary's barman print another document."""
    programs = primary.home.directory / "fake"
    programs.mkdir()
    (programs / "barman").write_text(f"#!/bin/sh\ncat {programs}/answer\n")
    (programs / "barman").chmod(0o755)
    genuine = primary.run("sync-info").stdout
    configuration = sshd.directory / "sshd_config"
    configuration.write_text(configuration.read_text().replace(str(node.home.programs), str(programs)))
    sshd.close()
    sshd.start()

    def answer(change):
        (programs / "answer").write_text(change(genuine))

    return answer


def _without(*path):
    def change(text):
        document = json.loads(text)
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        return json.dumps(document)

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda _: "", "it is empty", id="empty"),
        pytest.param(lambda _: "Welcome to the jungle", "it is no JSON document: 'Welcome to the jungle'", id="text"),
        pytest.param(lambda text: text[: len(text) // 2], "its JSON is damaged", id="cut"),
        pytest.param(_without("wals"), "it has no 'wals' (Barman 4", id="no WAL"),
        pytest.param(_without("config", "wals_directory"), "it has no 'wals_directory'", id="no directory"),
        pytest.param(lambda text: text.replace('"DONE"', '"REVISED"'), "invalid value of status", id="unknown status"),
        pytest.param(lambda text: text.replace(segment(3), "../../x"), "no name of a WAL file", id="hostile WAL name"),
        pytest.param(lambda text: text.replace(f'"{_BACKUP}": {{', '"../x": {'), "no backup id", id="hostile id"),
    ],
)
def test_an_answer_that_makes_no_sense_is_told_and_changes_nothing(answering, node, change, reason):
    answering(lambda text: text)
    node.run("sync-info", "--primary")
    before = (node.directory / "primary.info").read_bytes()
    answering(change)
    said = _cron(node)
    assert "the answer of the primary" in said
    assert reason in said
    assert (node.directory / "primary.info").read_bytes() == before


def test_a_later_version_may_say_more(answering, primary, node):
    def more(text):
        document = json.loads(text)
        document |= {"version": "9.9", "weather": "fine"}
        document["backups"][_BACKUP]["colour"] = "blue"
        document["wals"][0]["taste"] = ["sweet"]
        return "Welcome\n" + json.dumps(document) + "{}"

    answering(more)
    node.home.cron()
    assert _statuses(node) == {_BACKUP: "DONE"}
    assert catalogue(node) == catalogue(primary)
    assert "colour" not in (node.directory / "meta" / f"{_BACKUP}-backup.info").read_text()


def test_a_damaged_primary_info_is_told_and_written_anew(node):
    node.home.cron()
    (node.directory / "primary.info").write_text('{"last_position": 1')
    result = node.run("sync-wals", check=False)
    assert result.status == 1
    assert "primary.info: its JSON is damaged" in result.stderr
    node.home.cron()
    node.run("sync-wals")


# A full disk


@pytest.fixture
def small_disk(node):
    """The passive node's directory, on a file system that is too small."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    node.directory.mkdir()
    with file_systems.small_disk(node.directory, "size=600k"):
        yield node.directory


def test_a_full_disk_is_told_and_the_copy_goes_on_when_there_is_room(made, primary, small_disk, node):
    large = primary.base / _BACKUP / "data" / "base" / "1" / "large"
    large.write_bytes(os.urandom(2_000_000))
    large.chmod(0o644)
    node.run("sync-info", "--primary")
    result = node.run("sync-backup", _BACKUP, check=False)
    assert result.status == 1
    assert "No space left on device" in result.stderr
    assert _statuses(node)[_BACKUP] in {"FAILED", "SYNCING"}
    assert not (node.base / _BACKUP / "data" / "base" / "1" / "large").exists()
    file_systems.remount(small_disk, "size=20m")
    node.home.cron()
    assert _statuses(node) == {_BACKUP: "DONE"}
    assert tree(node.base / _BACKUP) == tree(primary.base / _BACKUP)
    assert catalogue(node) == catalogue(primary)


def test_a_backup_that_lacks_wal_on_the_primary_is_not_done_here(made, primary, node):
    stored(primary, segment(2)).unlink()
    node.run("sync-info", "--primary")
    said = node.run("sync-backup", _BACKUP).stderr
    assert f"WARNING: backup {_BACKUP} of server main is DONE on the primary, which lacks WAL it needs" in said
    assert _statuses(node) == {_BACKUP: "WAITING_FOR_WALS"}
    made.add_wal([segment(2)], page_header)
    node.home.cron()
    node.home.cron()
    assert _statuses(node) == {_BACKUP: "DONE"}
