"""The command `verify-wal`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from barman.cli.arguments import POSITIVE, SERVER_ARG
from barman.cli.context import Profile
from barman.human import pretty_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.cli.context import App
    from barman.wal.verify import Defect, Verification


@click.command("verify-wal")
@SERVER_ARG
@click.option("--deep", is_flag=True, help="Look into every file: pages, records and their checksums.")
@click.option("--jobs", "-j", type=POSITIVE, metavar="N", help="How many checks run at a time; default: one per core.")
@click.option("--repair", is_flag=True, help="Fetch what is missing or damaged from the source, if it is still there.")
@click.pass_obj
def command(app: App, server_name: str, deep: bool, jobs: int | None, repair: bool) -> None:
    r"""Verify the WAL archive: files, the list of them, and that none is missing in between.

    With --deep every file is decompressed, and its pages and records are checked, the checksums of records with
    pg_waldump of the PostgreSQL version that wrote them, where it is installed. Ends with 1 if anything is wrong.

    With --repair segments are fetched again by streaming replication, or over ssh if there is an ssh_command, and
    verified before they take their place. A damaged file is kept in the errors directory.

    \b
    Examples:
      barman verify-wal main
      barman verify-wal --deep main
      barman verify-wal --deep --repair main
    """
    from barman.wal.verify import verify_wal

    server = app.server(server_name, Profile.D if repair else Profile.G)
    found = verify_wal(server, app.output, deep=deep, jobs=jobs)
    repaired: tuple[str, ...] = ()
    if repair:
        from barman.wal.repair import repair_wal

        repaired, remaining = repair_wal(server, found.defects, app.output)
        found.defects = list(remaining)
        for name in repaired:
            app.output.info(f"Repaired WAL file {name}")
    for defect in found.defects:
        app.output.error(f"WAL of server '{server.name}': {defect.kind.value}: {defect.name}: {defect.reason}")
    if found.left_out:
        app.output.error(f"WAL of server '{server.name}': {found.left_out} more defects, which are not told one by one")
    app.output.info(_summary(server.name, found, deep=deep))
    app.output.result(server.name, _to_json(found, repaired, deep=deep))


def _summary(server: str, found: Verification, *, deep: bool) -> str:
    verdict = f"{len(found.defects) + found.left_out} defects" if found.defects or found.left_out else "no defect"
    looked = ""
    if deep:
        checksums = "" if found.checksums else ", without checksums of records"
        encrypted = f", {found.encrypted} encrypted ones were not" if found.encrypted else ""
        looked = f" ({found.looked_into} looked into{encrypted}{checksums})"
    return f"Verified {found.files} WAL files of server {server}, {pretty_size(found.size_bytes)}{looked}: {verdict}"


def _to_json(found: Verification, repaired: Sequence[str], *, deep: bool) -> dict[str, Any]:
    return {
        "ok": not found.defects and not found.left_out,
        "files": found.files,
        "size_bytes": found.size_bytes,
        "deep": deep,
        "looked_into": found.looked_into,
        "encrypted": found.encrypted,
        "checksums": found.checksums,
        "repaired": list(repaired),
        "defects": [_defect_json(defect) for defect in found.defects],
        "left_out": found.left_out,
    }


def _defect_json(defect: Defect) -> dict[str, Any]:
    data = {"kind": defect.kind.value, "name": defect.name, "reason": defect.reason}
    gap = defect.gap
    return data if gap is None else {**data, "last": gap.last, "files": gap.files, "after": gap.before}
