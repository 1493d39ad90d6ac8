"""The commands that work on the catalogue alone, on one made by hand: no PostgreSQL is asked."""

from __future__ import annotations

import pytest

from tests.support.catalogs import HISTORY, SYSTEM_ID, HandMade, backup_id, segment
from tests.support.processes import run
from tests.support.users import give

FIRST, SECOND, THIRD = backup_id(1), backup_id(2), backup_id(3)


@pytest.fixture
def server(home):
    server = home.server(conninfo="host=/nonexistent", archiver="on", backup_method="postgres")
    catalog = HandMade(server.directory)
    catalog.make_directories()
    catalog.add_backup(1, 2, 3, backup_name="weekly")
    catalog.add_backup(2, 5, 5)
    catalog.add_backup(3, 8, 9)
    catalog.add_wal([*(segment(number) for number in range(1, 11)), HISTORY])
    give(catalog.paths.identity.parent)
    catalog.paths.identity.write_text(f'{{"systemid": "{SYSTEM_ID}", "version": "15"}}')
    give(catalog.paths.identity)
    return server


def test_words_and_names_choose_the_backup(server):
    for word, expected in (("latest", THIRD), ("oldest", FIRST), ("weekly", FIRST), (SECOND, SECOND)):
        assert server.json("show-backup", word)["main"]["backup_id"] == expected
    result = server.run("show-backup", "nothing", check=False)
    assert (result.status, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "ERROR: Unknown backup 'nothing' for server 'main'",
        "HINT: See 'barman list-backups main'.",
    ]


def test_a_damaged_record_is_told_and_the_others_are_listed(server):
    path = HandMade(server.directory).paths.record_file(SECOND)
    path.write_text("stat")

    result = server.run("list-backups")

    assert [line.split()[1] for line in result.stdout.splitlines()] == [THIRD, SECOND, FIRST]
    assert SECOND in result.stderr
    assert "WARNING" in result.stderr
    assert server.run("show-backup", SECOND).stdout.startswith(f"Backup {SECOND}:")
    server.run("delete", SECOND)
    assert server.backup_ids() == [FIRST, THIRD]


def test_check_tells_of_damage_in_the_catalogue_and_of_hooks_that_cannot_be_run(server, scratch):
    paths = HandMade(server.directory).paths
    closed = scratch / "closed.sh"
    closed.write_text("#!/bin/sh\n")
    closed.chmod(0o644)
    server.set(pre_backup_retry_script="/nowhere/hook.sh --now", post_delete_script=closed, pre_archive_script="true")
    paths.record_file(SECOND).write_text("stat")
    paths.data_dir(THIRD).rename(scratch / "away")

    lines = server.run("check", check=False).stdout.splitlines()

    damage = f"backup {SECOND}: line 1 of backup.info has no '='; the files of backup {THIRD} are not there"
    assert f"\tbackup records: FAILED ({damage})" in lines
    hooks = f"pre_backup_retry_script: /nowhere/hook.sh does not exist; post_delete_script: {closed} cannot be executed"
    assert f"\thook scripts: FAILED ({hooks})" in lines


def test_a_minimum_redundancy_that_cannot_be_understood_deletes_nothing(server):
    server.set(minimum_redundancy="tow", retention_policy="REDUNDANCY 1")
    told = "no backup of server 'main' is deleted: invalid value 'tow' for option minimum_redundancy"
    for words in (["delete", "main", "oldest"], ["delete", "--dry-run", "main", "oldest"], ["cron"]):
        result = server.home.run(*words, check=False)
        assert (result.status, told in result.stderr) == (1, True), result
        assert "Traceback" not in result.text
    assert len(server.backup_ids()) == 3


def test_keeping_releasing_and_deleting(server):
    server.run("keep", "--target", "standalone", "weekly")
    assert server.run("keep", "--status", FIRST).stdout == "Server main:\n\tKeep: standalone\n"
    refused = server.run("delete", "oldest", check=False)
    assert refused.status == 1
    assert "kept" in refused.stderr
    server.run("keep", "--release", FIRST)
    assert server.json("keep", "--status", FIRST) == {
        "main": {"keep_status": {"description": "Keep", "message": "nokeep"}}
    }

    deleted = server.run("delete", "oldest")

    assert deleted.stdout.splitlines()[:3] == [
        f"Deleting backup {FIRST} for server main", "Delete associated WAL segments:", f"\t{segment(1)}",
    ]  # fmt: skip
    assert server.backup_ids() == [SECOND, THIRD]
    assert server.archived_wals()[0] == segment(5)


def test_what_would_be_deleted_is_shown_and_stays(server):
    result = server.run("delete", "--dry-run", "weekly", SECOND)

    assert result.stdout.splitlines() == [
        f"Would delete backup {FIRST} (1000 B, asked for)",
        f"Would delete backup {SECOND} (1000 B, asked for)",
        f"Would delete 7 WAL files from {segment(1)} to {segment(7)} (168 B; backup {THIRD} begins there)",
    ]
    shown = server.json("delete", "--dry-run", FIRST)["main"]
    assert shown["backups"] == [{"backup_id": FIRST, "reason": "asked for", "size_bytes": 1000}]
    assert shown["wal"]["files"] == 4
    assert server.backup_ids() == [FIRST, SECOND, THIRD]


def test_several_backups_are_deleted_at_once(server):
    server.run("delete", SECOND, "oldest")

    assert server.backup_ids() == [THIRD]


def test_the_policy_is_explained_for_now_and_for_later(server):
    server.set(retention_policy="RECOVERY WINDOW OF 60 DAYS; KEEP 1 YEARLY", minimum_redundancy=1)
    first = server.home.run("retention", "main").stdout.splitlines()
    assert first[0] == "Server main: RECOVERY WINDOW OF 60 DAYS; KEEP 1 YEARLY, minimum redundancy 1"
    assert first[1] == f"\t{THIRD} - VALID (inside the window)"

    later = server.json("retention", "--explain", "--simulate", "36500", "--dry-run")["main"]
    assert [(one["backup_id"], one["retention_status"]) for one in later["backups"]] == [
        (THIRD, "VALID"), (SECOND, "OBSOLETE"), (FIRST, "OBSOLETE"),
    ]  # fmt: skip
    assert [one["backup_id"] for one in later["deletion"]["backups"]] == [FIRST, SECOND]
    assert later["deletion"]["wal"]["last"] == segment(7)
    assert server.run("retention", "--dry-run").stdout == "main: Would delete nothing\n"
    assert server.backup_ids() == [FIRST, SECOND, THIRD]


def test_a_policy_that_cannot_be_understood_is_told_and_deletes_nothing(server):
    server.set(retention_policy="REDUNDANCY 1; KEEP 3 SOMETIMES")

    result = server.run("retention", check=False)
    assert (result.status, result.stdout) == (1, "")
    assert "REDUNDANCY 1; KEEP 3 SOMETIMES" in result.stderr
    assert "retention policy settings: FAILED" in server.run("check", check=False).stdout
    assert "REDUNDANCY 1; KEEP 3 SOMETIMES" in server.home.run("cron", check=False).stderr
    assert server.backup_ids() == [FIRST, SECOND, THIRD]


def test_keep_does_not_guess_between_keeping_and_releasing(server):
    server.run("keep", "--target", "full", FIRST)
    result = server.run("keep", "--release", "--target", "standalone", FIRST, check=False)
    assert (result.status, result.stderr) == (2, "ERROR: --release and --target exclude each other\n")
    assert server.run("keep", "--status", FIRST).stdout == "Server main:\n\tKeep: full\n"


def test_keep_wants_to_know_what_to_do(server):
    result = server.run("keep", FIRST, check=False)

    assert result.status == 1
    assert "--target" in result.stderr


def test_the_list_of_wal_can_be_rebuilt(server):
    catalog = HandMade(server.directory)
    before = catalog.paths.xlogdb.read_text()
    catalog.paths.xlogdb.unlink()

    assert server.run("rebuild-xlogdb").stdout.splitlines() == [
        "Rebuilding xlogdb for server main",
        "Done rebuilding xlogdb for server main (history: 1, backup_labels: 0, wal_file: 10)",
    ]
    names = [line.split("\t")[0] for line in catalog.paths.xlogdb.read_text().splitlines()]
    assert names == [line.split("\t")[0] for line in before.splitlines()]


@pytest.mark.parametrize(("options", "fits"), [((), False), (("--timeline", 2), False), (("--timeline", 3), True)])
def test_an_archive_with_wal_is_in_the_way_of_a_new_server(server, options, fits):
    result = server.run("check-wal-archive", *options, check=False)

    assert result.status == (0 if fits else 1)
    assert result.stdout.splitlines()[0] == "Server main:"
    assert ("passed" in result.stdout) is fits


def test_a_backup_travels_to_another_home(server, make_home, scratch):
    out = scratch / "out"
    out.mkdir()
    give(out)
    told = server.run("export-backup", FIRST, out, "--compression", "gzip", "--compression-level", "1").stdout
    (path,) = out.iterdir()
    assert str(path) in told
    other = make_home("other").server(conninfo="host=/nonexistent", archiver="on", backup_method="postgres")

    other.run("import-backup", path)

    assert other.backup_ids() == [FIRST]
    assert HandMade(other.directory).is_whole(HandMade(server.directory).backups.get(FIRST))
    again = other.run("import-backup", path, check=False)
    assert again.status == 1
    assert FIRST in again.stderr


@pytest.mark.parametrize(
    ("options", "status"),
    [(("--compression-level", "3"), 2), (("--compression", "gzip", "--compression-level", "0"), 2)],
)
def test_levels_without_sense_are_refused(server, scratch, options, status):
    assert server.run("export-backup", FIRST, scratch, *options, check=False).status == status


@pytest.mark.pg(own_tools=True)
def test_a_manifest_is_written_and_verified(server, installation):
    tool = installation.tools / "pg_verifybackup"
    if not tool.exists() or run([tool, "--version"]).status != 0:
        pytest.skip("this build has no pg_verifybackup that runs")
    server.set(path_prefix=installation.tools)
    data = HandMade(server.directory).paths.data_dir(FIRST)
    data.chmod(0o700)
    missing = server.run("verify-backup", FIRST, check=False)
    assert missing.status == 1
    assert "generate-manifest" in missing.stderr

    server.run("generate-manifest", FIRST)
    assert (data / "backup_manifest").is_file()
    assert server.run("generate-manifest", FIRST, check=False).status == 1
    verified = server.run("verify-backup", FIRST)
    assert "backup successfully verified" in verified.stdout

    (data / "PG_VERSION").write_text("16\n")
    failed = server.run("verify-backup", FIRST, check=False)
    assert failed.status == 1
    assert "PG_VERSION" in failed.stderr
