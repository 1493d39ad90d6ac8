from __future__ import annotations

from datetime import datetime, timezone

import pytest

from barman.restore.recovery import WalAccess, build_recovery, local_get_wal, staged_wal
from barman.restore.targets import TargetAction, TargetOptions, parse_target

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def _build(version=150018, options=TargetOptions(), access=WalAccess("false"), *, is_standby=False, timeline=None):  # noqa: B008
    return build_recovery(
        version=version,
        target=parse_target(options),
        action=options.action,
        timeline=timeline,
        access=access,
        is_standby=is_standby,
    )


def test_settings_go_to_the_automatic_file_beside_a_signal():
    options = TargetOptions(time=NOON, action=TargetAction.PROMOTE)
    recovery = _build(options=options, access=staged_wal("/srv/new/barman_wal"))
    assert recovery.file == "postgresql.auto.conf"
    assert recovery.signal == "recovery.signal"
    assert recovery.lines == (
        "restore_command = 'cp /srv/new/barman_wal/%f %p'",
        "recovery_end_command = 'rm -fr /srv/new/barman_wal'",
        "recovery_target_time = '2026-11-21 12:00:00+00:00'",
        "recovery_target_action = 'promote'",
    )
    assert "restore_command" in recovery.names


def test_old_versions_have_a_recovery_conf():
    recovery = _build(110022, is_standby=True, timeline="current")
    assert (recovery.file, recovery.signal) == ("recovery.conf", None)
    assert recovery.lines == ("restore_command = 'false'", "standby_mode = 'on'")


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (TargetOptions(xid="7", exclusive=True), ("recovery_target_xid = '7'", "recovery_target_inclusive = 'False'")),
        (TargetOptions(lsn="0/7"), ("recovery_target_lsn = '0/7'",)),
        (TargetOptions(name="it's \\ here"), ("recovery_target_name = 'it''s \\\\ here'",)),
        (TargetOptions(immediate=True), ("recovery_target = 'immediate'",)),
    ],
)
def test_every_target_has_its_setting(options, lines):
    assert _build(options=options, access=WalAccess(None)).lines == lines


@pytest.mark.parametrize(("timeline", "line"), [(3, "3"), ("latest", "latest"), ("current", "current")])
def test_timelines_are_written_as_given(timeline, line):
    assert f"recovery_target_timeline = {line}" in _build(timeline=timeline).lines


def test_a_standby_has_its_own_signal():
    assert _build(is_standby=True, access=WalAccess(None)).signal == "standby.signal"
    assert _build(is_standby=True, access=WalAccess(None)).lines == ()


def test_paths_survive_the_shell_and_the_percent_signs_of_postgresql():
    assert staged_wal("/a b/100%").restore_command == "cp '/a b/100%%'/%f %p"
    assert staged_wal("/a b/100%").recovery_end_command == "rm -fr '/a b/100%%'"


def test_get_wal_names_the_configuration_and_the_server():
    access = local_get_wal(("barman", "-c", "/etc/my barman.conf"), "main", takes_partial=True)
    assert access.restore_command == "barman -c '/etc/my barman.conf' get-wal -P main %f > %p"
    standby = local_get_wal(("barman",), "main", takes_partial=False)
    assert standby.restore_command == "barman get-wal main %f > %p"
    assert _build(access=access).lines[0].startswith("# ")
