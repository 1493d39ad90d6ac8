"""Clusters of which a known share of the pages changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.clusters import Cluster

_PAGE = 8192
# In every page.
ROWS = 4


def fill_with_pages(cluster: Cluster, size_mib: int) -> None:
    """Make a table of that size, half of every page free, that nothing but change_pages will change."""
    rows = size_mib * (1 << 20) // _PAGE * ROWS
    cluster.sql(
        "create table pages (number int, filler text) with (fillfactor = 50, autovacuum_enabled = off);"
        "alter table pages alter filler set storage plain;"
        f"insert into pages select n, repeat(md5(n::text), 30) from generate_series(1, {rows}) n"
    )
    # Otherwise the first who reads a page notes in it that its rows are there.
    cluster.sql("vacuum (freeze, analyze) pages")
    cluster.sql("checkpoint")


def change_pages(cluster: Cluster, one_in: int, *, row: int = 1) -> int:
    """Change a row in one of so many pages of that table, evenly spread; return how many bytes these pages have.

    row: which one in its page, from 1 to ROWS; each can be changed once.
    """
    places = (
        f"select ('(' || block || ',{row})')::tid "
        f"from generate_series(0, pg_relation_size('pages') / {_PAGE} - 1, {one_in}) block"
    )
    changed = cluster.value(
        f"with changed as (update pages set number = -number where ctid = any (array({places})) returning 1) "
        "select count(*) from changed"
    )
    cluster.sql("checkpoint")
    return int(changed) * _PAGE
