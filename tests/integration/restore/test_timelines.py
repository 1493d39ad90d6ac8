"""Recovery follows the timelines it can reach, and never ends on one that already exists."""

from __future__ import annotations

import pytest

from tests.support.ledger import Ledger, steps_in

pytestmark = pytest.mark.pg(">= 15", own_tools=True)

TIMELINE = "select timeline_id from pg_control_checkpoint()"


@pytest.fixture
def fork(home, cluster, clusters):
    """A primary that was forked: (server, backup, ledger) with rows 1-2 before the promotion, 3-4 after, on timeline 2.

    The old primary goes on as well, with rows 103 and 104 on timeline 1.
    """
    server = home.delivering(cluster)
    ledger = Ledger(cluster)
    backup = server.backup()
    ledger.go_to(2)
    standby = clusters.standby_of(cluster)
    standby.configure(primary_conninfo="")
    standby.restart()
    standby.promote()
    standby.wait_until_recovered()
    ledger.cluster = standby
    ledger.go_to(4)
    server.close_and_archive(standby)
    cluster.sql("insert into ledger values (103), (104)")
    server.close_and_archive(cluster)
    return server, backup, ledger


def test_without_a_target_the_newest_timeline_is_followed_and_a_new_one_begun(fork, recover, cluster):
    server, backup, _ = fork

    recovered = recover(server, cluster, backup, "newest")

    assert steps_in(recovered) == [1, 2, 3, 4]
    assert recovered.value(TIMELINE) == 3


def test_a_target_on_the_newer_timeline_needs_no_option(fork, recover, cluster):
    server, backup, ledger = fork

    third = ledger.steps[2]
    for name, words in {"time": ["--target-time", third.time], "xid": ["--target-xid", third.xid]}.items():
        recovered = recover(server, cluster, backup, name, *words, "--target-action", "promote")
        assert steps_in(recovered) == [1, 2, 3]
        recovered.stop("immediate")


@pytest.mark.parametrize("choice", ["current", "1"])
def test_the_old_timeline_is_followed_on_demand_and_left_for_one_nobody_has(choice, fork, recover, cluster):
    server, backup, _ = fork

    recovered = recover(server, cluster, backup, "old", "--target-tli", choice)

    assert steps_in(recovered) == [1, 2, 103, 104]
    assert recovered.value(TIMELINE) == 3


def test_a_backup_made_after_the_fork_stays_on_its_branch(fork, recover, cluster, scratch):
    server, _, _ = fork
    later = server.backup()
    server.close_and_archive(cluster)

    recovered = recover(server, cluster, later, "branch")
    refused = server.run("restore", later, scratch / "other" / "data", "--target-tli", "2", check=False)

    assert steps_in(recovered) == [1, 2, 103, 104]
    assert refused.status == 1
    assert "timeline 2 left timeline 1 at" in refused.stderr
    assert not (scratch / "other").exists()


def test_auto_takes_a_backup_from_which_the_timeline_can_be_reached(fork, cluster, scratch):
    server, first, _ = fork
    server.backup()
    server.close_and_archive(cluster)

    done = server.run("restore", "auto", scratch / "auto" / "data", "--target-tli", "2")

    assert f"using backup {first}" in done.stdout
