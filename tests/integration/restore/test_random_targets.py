"""Whatever the target, the restored cluster holds exactly the transactions before it, across two promotions."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ledger import Ledger, Step, steps_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.clusters import Cluster, ClusterMaker
    from tests.support.homes import BarmanHome, BarmanServer

# For each version; together there are more than 20.
TARGETS = 20
ROWS = 7
LOST = 1000


@dataclass
class History:
    """A cluster that was promoted twice. backups: by id, the number of rows each was taken after."""

    server: BarmanServer
    steps: list[Step]
    committed: dict[int, str]
    backups: dict[str, int]


@pytest.fixture
def history(home: BarmanHome, clusters: ClusterMaker, installation: Any) -> History:
    """Rows of a ledger on three timelines, with a backup on the first two; primaries left behind wrote others."""
    cluster = clusters.make(installation, segment_size=1 << 20)
    cluster.configure(track_commit_timestamp="on")
    server = home.server(
        conninfo=cluster.conninfo(),
        streaming_conninfo=cluster.streaming_conninfo(),
        backup_method="postgres",
        archiver="on",
        path_prefix=installation.tools,
        immediate_checkpoint="true",
        compression="gzip",
    )
    server.run("check", check=False)
    # Old and new primary may both have a segment to send.
    cluster.archive_with(f"cmp -s %p {server.incoming}/%f || cp %p {server.incoming}/%f")
    server.close_and_archive(cluster)
    ledger = Ledger(cluster)
    ledger.step()
    backups = {server.backup(): 1}
    for promotion in (1, 2):
        _write(ledger, promotion * ROWS)
        ledger.cluster = _promote(clusters, ledger.cluster, f"promoted-{promotion}")
        server.set(conninfo=ledger.cluster.conninfo(), streaming_conninfo=ledger.cluster.streaming_conninfo())
        if promotion == 1:
            backups[server.backup()] = ROWS
    _write(ledger, 3 * ROWS)
    server.close_and_archive(ledger.cluster)
    times = ledger.cluster.sql("select step, pg_xact_commit_timestamp(xmin)::text from ledger")
    return History(server, ledger.steps, dict(times), backups)


def _write(ledger: Ledger, number: int) -> None:
    """Commit rows until there are so many, others being rolled back and WAL being switched in between."""
    while len(ledger.steps) < number:
        ledger.step()
        with ledger.cluster.connect() as session:
            session.execute("begin")
            session.execute("insert into ledger values (0)")
            session.execute("rollback")
        if len(ledger.steps) % 3 == 0:
            ledger.cluster.switch_wal()


def _promote(clusters: ClusterMaker, primary: Cluster, name: str) -> Cluster:
    """Promote a standby; the old primary goes on with rows that are lost, and archives them too."""
    standby = clusters.standby_of(primary, name)
    standby.configure(primary_conninfo="")
    standby.restart()
    standby.promote()
    standby.wait_until_recovered()
    primary.sql(f"insert into ledger values ({LOST})")
    primary.switch_wal()
    primary.stop()
    return standby


def _draw(chance: random.Random, history: History) -> tuple[list[object], list[int], bool]:
    """Return the options of a random target, the rows before it, and whether they say which backup to take."""
    step = chance.choice(history.steps[ROWS // 2 :])
    kind = chance.choice(["time", "commit time", "xid", "lsn", "name", "nothing"])
    exclusive = chance.random() < 0.5
    until = step.number
    words: list[object] = {
        "time": ["--target-time", step.time],
        "commit time": ["--target-time", history.committed[step.number]],
        "xid": ["--target-xid", step.xid],
        "lsn": ["--target-lsn", step.lsn],
        "name": ["--target-name", step.name],
        "nothing": [],
    }[kind]
    if kind == "nothing":
        return [], [one.number for one in history.steps], True
    if exclusive and kind != "name":
        words = [*words, "--exclusive"]
        until -= kind in ("xid", "commit time")
    words = [*words, "--target-action", "promote"]
    return words, list(range(1, until + 1)), kind in ("time", "commit time", "lsn")


@pytest.mark.pg(">= 13")
def test_a_restored_cluster_holds_exactly_what_was_committed_before_the_target(
    history: History, recover: Callable[..., Cluster], clusters: ClusterMaker, installation: Any
) -> None:
    seed = os.environ.get("BARMAN_TEST_SEED", str(random.randrange(1 << 32)))
    chance = random.Random(seed)
    cluster = clusters.adopt(installation, history.server.directory, "unused")
    for number in range(TARGETS):
        words, expected, tells_backup = _draw(chance, history)
        earlier = [backup for backup, rows in history.backups.items() if rows < len(expected)]
        backup = chance.choice([*earlier, "auto"] if tells_backup else earlier)
        said = f"BARMAN_TEST_SEED={seed}, target {number}: {backup} {words}"

        recovered = recover(history.server, cluster, backup, f"target-{number}", *words)

        assert steps_in(recovered) == expected, said
        assert recovered.value("select timeline_id from pg_control_checkpoint()") > 3, said
        recovered.stop("immediate")
