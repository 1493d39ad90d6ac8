"""A table that says which transaction came when, so that a recovered cluster tells where recovery stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    from typing_extensions import LiteralString

    from tests.support.clusters import Cluster


@dataclass(frozen=True)
class Step:
    """A committed row of the ledger: its transaction, then a restore point, and the position and time after both."""

    number: int
    xid: int
    name: str
    lsn: str
    time: str


class Ledger:
    """Rows committed one after the other, so that a recovered cluster says where recovery stopped."""

    def __init__(self, cluster: Cluster) -> None:
        """Create the table."""
        cluster.sql("create table ledger (step int primary key)")
        self.cluster = cluster
        self.steps: list[Step] = []

    def step(self) -> Step:
        """Commit the next row."""
        number = len(self.steps) + 1
        with self.cluster.connect() as session:
            with session.transaction():
                session.execute("insert into ledger values (%s)", [number])
                xid = _first(session, "select txid_current()")
            name = f"step_{number}"
            lsn = _first(session, "select pg_create_restore_point(%s)::text", name)
            time = _first(session, "select clock_timestamp()::text")
        self.steps.append(Step(number, xid, name, lsn, time))
        return self.steps[-1]

    def go_to(self, number: int) -> None:
        """Commit rows until there are so many."""
        while len(self.steps) < number:
            self.step()


def steps_in(cluster: Cluster) -> list[int]:
    """Return the rows the cluster has."""
    return [row[0] for row in cluster.sql("select step from ledger order by step")]


def _first(session: psycopg.Connection[tuple[Any, ...]], query: LiteralString, *parameters: object) -> Any:
    row = session.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]
