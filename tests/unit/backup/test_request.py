"""What the command line may say of one backup."""

from __future__ import annotations

import pytest

from barman.backup.request import BackupRequest, Overrides, require_usable_name
from barman.errors import UsageError
from tests.support.settings import server_settings


def test_without_overrides_the_settings_stay():
    settings = server_settings(parallel_jobs=3)
    assert BackupRequest().overrides.applied_to(settings) == settings


def test_what_is_said_replaces_what_is_configured_falsehood_and_zero_included():
    settings = server_settings(
        immediate_checkpoint=True, basebackup_retry_times=4, bandwidth_limit=100, parallel_jobs=3
    )
    overrides = Overrides(immediate_checkpoint=False, basebackup_retry_times=0, bandwidth_limit=0, reuse_backup="off")
    changed = overrides.applied_to(settings)
    assert (changed.immediate_checkpoint, changed.basebackup_retry_times, changed.bandwidth_limit) == (False, 0, 0)
    assert (changed.reuse_backup, changed.parallel_jobs) == ("off", 3)


@pytest.mark.parametrize("name", ["", " ", "20260101T000000", "latest", "last-full", "auto", "two\nlines"])
def test_a_name_by_which_the_backup_could_not_be_chosen_is_refused(name):
    with pytest.raises(UsageError, match="cannot be named"):
        require_usable_name(name)


@pytest.mark.parametrize("name", ["before-upgrade", "20260101T00000", "latest-of-all", "my backup"])
def test_any_other_name_will_do(name):
    require_usable_name(name)
