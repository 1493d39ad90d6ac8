"""Hook scripts."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from barman.errors import HookAborted
from barman.host.hooks import Event, Hooks, Scripts
from barman.version import __version__
from tests.support.processes import is_alive, wait_until

NOTHING = Scripts(None, None, None, None)


@pytest.fixture
def make(tmp_path):
    pauses = []

    def hooks(timeout_s=None, **scripts):
        made = Hooks(
            Event.ARCHIVE,
            NOTHING._replace(**scripts),
            server="main",
            config_path=Path("/etc/barman.conf"),
            timeout_s=timeout_s,
            sleep=pauses.append,
        )
        made.pauses = pauses
        return made

    return hooks


def test_without_scripts_there_are_no_hooks(make):
    assert not make()
    assert make(post="true")
    make().before({})
    make().after({})


def test_the_order_is_pre_pre_retry_post_retry_post(make, tmp_path):
    names = ("pre", "pre_retry", "post_retry", "post")
    hooks = make(**{name: f"echo {name} >> {tmp_path}/log" for name in names})
    hooks.before({})
    hooks.after({})
    assert (tmp_path / "log").read_text().split() == list(names)


def test_a_hook_learns_what_it_is_about(make, tmp_path):
    hooks = make(pre_retry=f"env > {tmp_path}/env", post=f"env > {tmp_path}/env")
    hooks.before({"BARMAN_SEGMENT": "000000010000000000000001"})
    found = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
    assert {key: value for key, value in found.items() if key.startswith("BARMAN_") and "TEST" not in key} == {
        "BARMAN_CONFIGURATION": "/etc/barman.conf",
        "BARMAN_ERROR": "",
        "BARMAN_HOOK": "archive_retry_script",
        "BARMAN_PHASE": "pre",
        "BARMAN_RETRY": "1",
        "BARMAN_SEGMENT": "000000010000000000000001",
        "BARMAN_SERVER": "main",
        "BARMAN_VERSION": __version__,
    }
    hooks.after({}, error=RuntimeError("no space"))
    text = (tmp_path / "env").read_text()
    assert "BARMAN_ERROR=no space\n" in text
    assert "BARMAN_HOOK=archive_script\n" in text
    assert "BARMAN_PHASE=post\n" in text


def test_what_a_plain_hook_says_does_not_matter(make):
    hooks = make(pre="exit 63", post="no-such-program")
    hooks.before({})
    hooks.after({})


def test_63_before_the_action_stops_it(make):
    with pytest.raises(HookAborted, match="pre_archive_retry_script says stop"):
        make(pre_retry="exit 63").before({})


def test_63_after_the_action_is_too_late(make, tmp_path):
    make(post_retry="exit 63", post=f"touch {tmp_path}/ran").after({})
    assert (tmp_path / "ran").exists()


def test_62_goes_on_without_another_try(make, tmp_path):
    make(pre_retry=f"echo >> {tmp_path}/log; exit 62").before({})
    assert (tmp_path / "log").read_text() == "\n"


def test_anything_else_is_tried_again_with_pauses(make, tmp_path):
    hooks = make(pre_retry=f"echo >> {tmp_path}/log; test $(wc -l < {tmp_path}/log) -ge 9")
    hooks.before({})
    assert hooks.pauses == [3, 3, 3, 3, 3, 60, 3, 3]


def test_whoever_waits_is_told_why_at_first_and_then_every_minute(make, tmp_path):
    told = []
    reporter = SimpleNamespace(warning=told.append)
    script = f"echo >> {tmp_path}/log; test $(wc -l < {tmp_path}/log) -ge 9"
    make(pre_retry=script).before({}, reporter)
    end = f"until it ends with 0, 62 or 63: {script}"
    assert told == [
        f"pre_archive_retry_script failed (attempt 1), and is run again in 3 seconds, {end}",
        f"pre_archive_retry_script failed (attempt 6), and is run again in 60 seconds, {end}",
    ]


def test_the_prefix_comes_first_in_the_path(tmp_path):
    hooks = Hooks(
        Event.BACKUP,
        NOTHING._replace(pre=f'echo "$PATH" > {tmp_path}/path'),
        server="main",
        config_path=Path("/x"),
        path_prefix="/opt/first",
    )
    hooks.before({})
    assert (tmp_path / "path").read_text().startswith("/opt/first:")


def test_a_hook_that_hangs_is_stopped_with_all_it_started_and_counts_as_failed(make, tmp_path, caplog):
    hang = f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 600'; true"
    hooks = make(pre=hang, pre_retry=f"test -e {tmp_path}/seen && exit; touch {tmp_path}/seen; {hang}", timeout_s=0.5)
    began = time.monotonic()

    hooks.before({})

    assert time.monotonic() - began < 60
    assert hooks.pauses == [3]
    assert "did not end within 0.5 seconds" in caplog.text
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_alive(pid), "what the hook started is gone")
