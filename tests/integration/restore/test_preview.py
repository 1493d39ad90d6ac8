"""A dry run tells what a restore would do, and does nothing."""

from __future__ import annotations

import pytest

from tests.support.ledger import Ledger, steps_in

pytestmark = pytest.mark.pg(">= 15", own_tools=True, each=False)


@pytest.fixture
def site(stream, cluster):
    """A server with a backup in the middle of a ledger, the cluster, its ledger, and the backup's id."""
    cluster.configure(archive_command="/bin/true %p", archive_mode="on", max_connections=57)
    cluster.restart()
    cluster.load(300)
    server = stream(cluster)
    ledger = Ledger(cluster)
    ledger.go_to(2)
    backup = server.backup()
    ledger.go_to(5)
    server.close_and_archive(cluster)
    return server, cluster, ledger, backup


def _tree(directory):
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in directory.rglob("*")}


def test_the_plan_says_it_all_and_nothing_is_written(site, scratch, recover):
    server, cluster, ledger, backup = site
    before = _tree(server.base)
    words = ["--target-name", ledger.steps[3].name, "--target-action", "promote"]

    shown = server.run("restore", "latest", scratch / "new" / "data", "--dry-run", *words).stdout
    plan = server.json("restore", "latest", scratch / "new" / "data", "--dry-run", *words)["plan"]

    assert not (scratch / "new").exists()
    assert _tree(server.base) == before
    assert f"{backup} (asked for as 'latest')" in shown
    assert "postgresql.conf line" in shown
    assert "archive_command = '/bin/true %p' -> false" in shown
    assert "recovery_target_name = 'step_4'" in shown
    assert plan["backup_id"] == backup
    assert plan["timelines"] == [1]
    assert plan["wal"]["files"][0] >= "000000010000000000000002"
    assert set(plan["wal"]["files"]) <= set(server.archived_wals())
    assert not plan["wal"]["is_gap"]
    assert plan["wal"]["missing"] not in server.archived_wals()
    assert "recovery.signal" in plan["files"]
    [change] = plan["settings_changed"]
    assert (change["old"], change["new"]) == ("'/bin/true %p'", "false")
    sizes = {room["what"]: room["size_bytes"] for room in plan["room"]}
    assert sizes["data directory"] > 10 << 20
    assert plan["mounts"][0]["needed_bytes"] == sum(sizes.values())
    recovered = recover(server, cluster, backup, "new", *words)
    assert steps_in(recovered) == [1, 2, 3, 4]


def test_a_refusal_comes_before_a_byte_and_names_what_can_be_reached(site, scratch):
    server, cluster, ledger, backup = site
    step = ledger.step()
    server.close_and_archive(cluster)
    last = cluster.value("select xmin::text::bigint from ledger order by step desc limit 1")
    refusals = {
        ("--target-xid", last + 100): f"the target transaction {last + 100} cannot be reached",
        ("--target-time", "2099-01-01 00:00:00+00"): "no transaction in the archive ended after it",
        ("--target-lsn", "F/0"): "the archive ends before it",
    }
    for words, reason in refusals.items():
        for mode in ([], ["--dry-run"]):
            result = server.run("restore", backup, scratch / "new" / "data", *words, *mode, check=False)
            assert result.status == 1
            assert reason in result.stderr
            assert "The nearest point that can be reached is" in result.stderr
            assert not (scratch / "new").exists()
    early = server.run("restore", backup, scratch / "x", "--dry-run", "--target-name", ledger.steps[0].name)
    assert "cannot be reached" in early.stderr
    assert server.run("restore", backup, scratch / "x", "--dry-run", "--target-name", step.name).status == 0


def test_settings_that_recovery_would_stop_at_are_told(site, scratch):
    server, _, _, backup = site
    conf = server.base / backup / "data" / "postgresql.conf"
    conf.write_text(conf.read_text().replace("max_connections = 57", "max_connections = 20"))
    warnings = server.json("restore", backup, scratch / "new" / "data", "--dry-run")["_WARNING"]
    assert any("max_connections of the restored cluster is 20" in warning for warning in warnings)


def test_a_problem_of_the_destination_is_shown_with_the_plan(site, scratch):
    server, _, _, backup = site
    (scratch / "full").mkdir()
    (scratch / "full" / "file").touch()
    result = server.run("restore", backup, scratch / "full", "--dry-run", check=False)
    assert result.status == 1
    assert "Restore plan" in result.stdout
    assert "is not empty" in result.stderr


@pytest.mark.pg(">= 17", own_tools=True, each=False)
def test_settings_are_read_out_of_tarballs_of_chains_too(stream, cluster, scratch, sshd):
    cluster.configure(archive_command="/bin/true %p", max_connections=57)
    cluster.restart()
    # In force after a restart only: the restored cluster has less than its origin ran with.
    cluster.configure(max_connections=20)
    server = stream(cluster, backup_compression="gzip")
    full = server.backup()
    incremental = server.backup("--incremental", full)
    server.close_and_archive(cluster)
    shortfall = "max_connections of the restored cluster is 20 in its configuration, and was 57"
    for number, backup in enumerate((full, incremental)):
        shown = server.json("restore", backup, scratch / "new" / "data", "--dry-run")
        [change] = shown["plan"]["settings_changed"]
        assert (change["option"], change["old"]) == ("archive_command", "'/bin/true %p'")
        assert shown["plan"]["not_known"] == []
        assert any(shortfall in warning for warning in shown["_WARNING"])
        assert not (scratch / "new").exists()

        for place, words in {"here": [], "there": ["--remote-ssh-command", sshd.command]}.items():
            done = server.run("restore", backup, scratch / "restored" / f"{place}-{number}", *words)
            assert done.stderr.count(shortfall) == 1


@pytest.mark.pg(">= 17", own_tools=True, each=False)
def test_what_is_combined_here_for_another_host_needs_room_in_the_staging_path(stream, cluster, scratch, sshd):
    server = stream(cluster)
    backup = server.backup("--incremental", server.backup())
    server.close_and_archive(cluster)
    closed = scratch / "closed"
    closed.mkdir(mode=0o555)
    words = ["restore", backup, scratch / "new" / "data", "--remote-ssh-command", sshd.command]

    plan = server.json(*words, "--dry-run", "--staging-path", scratch / "staging")["plan"]
    refused = server.run(*words, "--staging-path", closed, check=False)

    here = [mount for mount in plan["mounts"] if not mount["path"].endswith("@127.0.0.1")]
    size = next(room["size_bytes"] for room in plan["room"] if room["what"] == "data directory")
    assert [mount["needed_bytes"] for mount in here] == [size]
    assert f"the staging path cannot be written: {closed}: Permission denied" in refused.stderr
    assert not (scratch / "new").exists()
