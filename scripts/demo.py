"""The main job, told step by step on a throwaway PostgreSQL; run by scripts/demo."""

from __future__ import annotations

import shlex
import shutil
import sys
import time

from tests.support.clusters import Cluster, ClusterMaker
from tests.support.homes import BarmanHome
from tests.support.installations import Installation, choose
from tests.support.places import run_directory
from tests.support.processes import ProgramFailed, end_processes_of
from tests.support.provision import provision_one
from tests.support.users import give

_ORDERS = """
create table orders (id bigserial primary key, customer text not null, amount numeric(10, 2), placed timestamptz);
"""
_MORE_ORDERS = """
insert into orders (customer, amount, placed)
    select 'customer ' || i % 100, (random() * 500)::numeric(10, 2), clock_timestamp()
    from generate_series(1, {count}) i
"""


def main() -> int:
    """Run the story; return the exit status."""
    provision_one()
    found = choose(own_tools=True, each=False)
    if not found:
        sys.stderr.write("ERROR: no PostgreSQL found and none could be installed\n")
        return 1
    began = time.monotonic()
    directory = run_directory()
    give(directory)
    clusters = ClusterMaker(directory)
    try:
        same = _story(found[0], clusters)
    except ProgramFailed as failure:
        sys.stderr.write(f"ERROR: {failure}\n")
        same = False
    finally:
        clusters.close()
        end_processes_of(directory)
        shutil.rmtree(directory)
    _say(f"\nEnded after {time.monotonic() - began:.0f} seconds; nothing is left running, the files are removed.")
    return 0 if same else 1


def _story(installation: Installation, clusters: ClusterMaker) -> bool:
    _step(f"A PostgreSQL {installation.major} with a table of orders")
    cluster = clusters.make(installation)
    cluster.sql(_ORDERS + _MORE_ORDERS.format(count=10_000))
    _count(cluster)

    _step("One [server] section points barman at it")
    home = BarmanHome(run_directory() / "barman", log_level="INFO")
    server = home.streaming(cluster, "shop")
    _say("".join(f"    {line}\n" for line in (home.conf_d / "shop.conf").read_text().splitlines()), end="")

    _step("cron starts streaming WAL; check says whether all is well")
    server.start_streaming(cluster)
    server.close_and_archive(cluster)
    _barman(home, "check", "shop")

    _step("A base backup, while the database is being written to")
    with cluster.loading():
        _barman(home, "backup", "--wait", "shop")

    _step("More orders after the backup")
    cluster.sql(_MORE_ORDERS.format(count=5_000))
    _count(cluster)
    expected = cluster.checksums()["public.orders"]
    before = str(cluster.value("select clock_timestamp()"))

    _step(f"The accident: somebody deletes all orders, just after {before}")
    cluster.sql("delete from orders")
    _count(cluster)
    cluster.sql("insert into orders (customer, placed) values ('who comes after the accident', clock_timestamp())")

    _step("What has been written up to now goes to the archive")
    _barman(home, "switch-wal", "--archive", "shop")
    _barman(home, "list-backups", "shop")

    _step("Restore to the moment before the accident, beside the damaged database")
    destination = run_directory() / "recovered" / "data"
    destination.parent.mkdir()
    give(destination.parent)
    words = ("--target-time", before, "--target-action", "promote")
    _barman(home, "restore", *words, "shop", "latest", str(destination))

    _step("Start the recovered cluster")
    recovered = clusters.recover(installation, destination)
    _count(recovered)
    same = recovered.checksums()["public.orders"] == expected
    _say("    The lost orders are back: " + ("every row as it was." if same else "NO, they differ!"))
    return same


def _barman(home: BarmanHome, *words: str) -> None:
    _say(f"    $ {shlex.join(['barman', *words])}")
    result = home.run(*words)
    _say("".join(f"      {line}\n" for line in result.text.splitlines()), end="")


def _count(cluster: Cluster) -> None:
    _say(f"    orders in the table: {cluster.value('select count(*) from orders')}")


def _step(title: str) -> None:
    _say(f"\n* {title}")


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, flush=True)


if __name__ == "__main__":
    sys.exit(main())
