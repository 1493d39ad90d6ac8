"""keep, config-update, config-switch and retention's own marks, killed at every step: the old state or the new one.

Whatever happened, every backup is still whole and every file is understood; the second run ends in the same state.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest

from barman.catalog.record import KeepTarget
from barman.config.load import load_config
from tests.support.catalogs import HandMade, backup_id, segment
from tests.support.faults import needs_strace, run_with_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from barman.config.load import ServerConfig
    from tests.support.homes import BarmanServer
    from tests.support.processes import Result

pytestmark = [needs_strace, pytest.mark.timeout(900)]

FIRST, SECOND = backup_id(1), backup_id(2)
STEPS = {
    "rename": "rename,renameat,renameat2",
    "fsync": "fsync,fdatasync",
    "unlink": "unlink,unlinkat",
    "write": "write,pwrite64,ftruncate",
}
OUTCOMES = {"signal=SIGKILL": {-9, 137}, "error=ENOSPC": {0, 1}}
CHANGE = json.dumps(
    [{"scope": "server", "server_name": "main", "description": "new", "retention_policy": "REDUNDANCY 2"}]
)


@pytest.fixture
def server(home) -> BarmanServer:
    server = home.server(conninfo="host=/nonexistent", archiver="on", backup_method="postgres", description="old")
    server.set(cluster="one")
    (home.conf_d / "model.conf").write_text("[one:other]\nmodel = true\ncluster = one\ndescription = model\n")
    catalog = HandMade(server.directory)
    catalog.make_directories()
    catalog.add_backup(1, 2, 3)
    catalog.add_backup(2, 5, 6)
    catalog.add_wal(segment(number) for number in range(2, 9))
    return server


def require_whole(server: BarmanServer) -> None:
    catalog = HandMade(server.directory)
    records = catalog.backups.load()
    assert sorted(records) == [FIRST, SECOND]
    assert all(record.is_done and catalog.is_whole(record) for record in records.values())


def configured(server: BarmanServer) -> ServerConfig:
    return load_config(server.home.conf).servers["main"]


def sweep(
    server: BarmanServer, words: Sequence[object], step: str, fault: str, check: Callable[[Result], None]
) -> None:
    """Disturb the command at each of its steps in turn, with check after each, until nothing is disturbed."""
    home = server.home
    for number in itertools.count(1):
        result = run_with_fault(
            home.argv(*words), calls=STEPS[step], fault=fault, when=str(number),
            env=home.environment(), cwd=home.directory,
        )  # fmt: skip
        assert "Traceback" not in result.text, result
        require_whole(server)
        check(result)
        home.run(*words)
        require_whole(server)
        if result.status == 0 and "error" not in fault:
            return
        if "error" in fault and number >= 4:
            return
        assert result.status in OUTCOMES[fault], result


@pytest.mark.parametrize("fault", OUTCOMES)
@pytest.mark.parametrize("step", STEPS)
def test_keep_and_release(server, step, fault):
    backups = HandMade(server.directory).backups

    def is_either(_result):
        assert backups.keep(FIRST) in {None, KeepTarget.FULL, KeepTarget.STANDALONE}
        assert set(backups.keeps()) <= {FIRST}

    sweep(server, ["keep", "--target", "standalone", "main", FIRST], step, fault, is_either)
    assert backups.keep(FIRST) is KeepTarget.STANDALONE
    sweep(server, ["keep", "--release", "main", FIRST], step, fault, is_either)
    assert backups.keeps() == {}
    assert [path.name for path in HandMade(server.directory).paths.meta.iterdir() if "keep" in path.name] == []


@pytest.mark.parametrize("fault", OUTCOMES)
@pytest.mark.parametrize("step", STEPS)
def test_config_update(server, step, fault):
    def is_understood(_result):
        main = configured(server)
        assert main.settings.description in {"old", "new"}
        assert main.settings.retention_policy in {None, "REDUNDANCY 2"}
        assert main.settings.conninfo == "host=/nonexistent"
        assert not main.is_disabled

    sweep(server, ["config-update", CHANGE], step, fault, is_understood)
    settings = configured(server).settings
    assert (settings.description, settings.retention_policy) == ("new", "REDUNDANCY 2")


@pytest.mark.parametrize("step", ["rename", "fsync", "unlink"])
def test_config_switch(server, step):
    fault = "signal=SIGKILL"

    def is_understood(_result):
        main = configured(server)
        assert (main.active_model, main.settings.description) in {(None, "old"), ("one:other", "model")}

    sweep(server, ["config-switch", "main", "one:other"], step, fault, is_understood)
    assert configured(server).settings.description == "model"
    sweep(server, ["config-switch", "main", "--reset"], step, fault, is_understood)
    assert configured(server).settings.description == "old"
