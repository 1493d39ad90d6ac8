"""All hook scripts of a server, through a backup, the archiving of its WAL, a restore, and a deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.pg

EVENTS = ("backup", "archive", "delete", "wal_delete", "recovery")
KINDS = ("script", "retry_script")
COMMON = {"VERSION", "SERVER", "CONFIGURATION", "HOOK", "PHASE", "RETRY", "ERROR"}
OF_BACKUP = {"BACKUP_DIR", "BACKUP_INFO_PATH", "BACKUP_ID", "PREVIOUS_ID", "NEXT_ID", "STATUS"}
OF_WAL = {"SEGMENT", "FILE", "SIZE", "TIMESTAMP", "COMPRESSION"}
OF_RESTORE = OF_BACKUP | {"DESTINATION_DIRECTORY", "TABLESPACES", "REMOTE_COMMAND", "RECOVER_OPTIONS"}
KNOWN = {"backup": OF_BACKUP, "delete": OF_BACKUP, "recovery": OF_RESTORE, "archive": OF_WAL, "wal_delete": OF_WAL}


@pytest.fixture
def seen(scratch):
    """Where each hook leaves the environment of its last run, under its option's name."""
    directory = scratch / "seen"
    directory.mkdir()
    give(directory)
    return directory


def variables(seen: Path, option: str) -> Mapping[str, str]:
    lines = (seen / option).read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines if line.startswith("BARMAN_"))
    mine = ("BARMAN_TEST_", "BARMAN_CONFIG_FILE")
    return {name.removeprefix("BARMAN_"): value for name, value in found.items() if not name.startswith(mine)}


def test_every_hook_runs_and_knows_what_it_is_about(cluster, home, seen, scratch):
    options = {
        f"{phase}_{event}_{kind}": f"env > {seen}/{phase}_{event}_{kind}"
        for event in EVENTS
        for phase in ("pre", "post")
        for kind in KINDS
    }
    server = home.archiving(cluster, compression="gzip", **options)
    first = server.backup("--wait")
    second = server.backup("--wait")
    server.restore(first, scratch / "restored", "--target-immediate", "--target-action", "promote")
    server.run("delete", first)

    assert sorted(path.name for path in seen.iterdir()) == sorted(options)
    for event in EVENTS:
        for phase in ("pre", "post"):
            for kind in KINDS:
                found = variables(seen, f"{phase}_{event}_{kind}")
                assert set(found) == COMMON | KNOWN[event]
                assert found["HOOK"] == f"{event}_{kind}"
                assert (found["PHASE"], found["RETRY"]) == (phase, str(int(kind == "retry_script")))
                assert (found["SERVER"], found["ERROR"], found["CONFIGURATION"]) == ("main", "", str(home.conf))

    deleted = variables(seen, "post_delete_script")
    assert (deleted["BACKUP_ID"], deleted["NEXT_ID"], deleted["STATUS"]) == (first, second, "DONE")
    assert variables(seen, "pre_backup_script")["STATUS"] == "EMPTY"
    assert variables(seen, "pre_backup_script")["PREVIOUS_ID"] == first
    archived = variables(seen, "post_archive_script")
    assert archived["FILE"] == str(server.wals / archived["SEGMENT"][:16] / archived["SEGMENT"])
    assert archived["COMPRESSION"] == "gzip"
    assert variables(seen, "pre_archive_script")["FILE"].startswith(str(server.incoming))
    options_told = variables(seen, "pre_recovery_script")["RECOVER_OPTIONS"]
    assert options_told == '{"target_action": "promote", "target_immediate": true}'
