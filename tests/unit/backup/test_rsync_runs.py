"""An rsync that gets nowhere holds no backup for ever."""

from __future__ import annotations

import logging

import pytest

from barman.backup.rsync_runs import RsyncRuns
from barman.errors import CommandError
from barman.host import rsync
from barman.host.workers import Workers
from barman.progress import LogReporter
from tests.support.settings import server_settings

# The first time it ends before it has told that all is well.
_CUT = """#!/bin/sh
echo "==5 5 file"
echo >> {tried}
[ $(wc -l < {tried}) -gt 1 ] || sleep 1000
"""
# As a file system that does not answer would have it.
_STUCK = "#!/bin/sh\nexec sleep 1000\n"


@pytest.fixture
def runs(tmp_path):
    """Makes runs of a program that stands for rsync: runs(text, retry_times=...)."""
    program = tmp_path / "bin" / "rsync"
    program.parent.mkdir()

    def make(text, retry_times=1):
        program.write_text(text)
        program.chmod(0o755)
        return RsyncRuns(
            {"PATH": f"{program.parent}:/usr/bin:/bin"},
            host="there",
            settings=server_settings(basebackup_retry_times=retry_times, basebackup_retry_sleep=0),
            reporter=LogReporter(),
            workers=Workers([None], on_tick=lambda: None),
            advance=lambda _count: None,
            patience_s=1,
        )

    return make


def test_a_listing_in_which_nothing_moves_is_tried_again_and_given_up(runs, caplog):
    caplog.set_level(logging.INFO, logger="barman")
    with pytest.raises(CommandError, match="cannot list the files of there: nothing has moved for 1 second"):
        runs(_STUCK).list_files(rsync.list_argv(rsync.Source("/data", None), ()))
    assert "trying again in 0 seconds (1 more)" in caplog.text


def test_a_copy_in_which_nothing_moves_is_tried_again_and_given_up(runs, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="barman")
    target, scratch = tmp_path / "target", tmp_path / "scratch"
    target.mkdir()
    scratch.mkdir()
    argv = rsync.copy_argv(rsync.Source("/data", None), str(target), scratch=str(scratch))
    with pytest.raises(CommandError, match="cannot copy from there: nothing has moved for 1 second"):
        runs(_STUCK).copy(argv, ["file"], str(target), scratch)
    assert "trying again in 0 seconds (1 more)" in caplog.text


def test_a_file_that_was_copied_before_rsync_was_given_up_is_told_of(runs, tmp_path):
    tried, told = tmp_path / "tried", []
    made = runs(_CUT.format(tried=tried), retry_times=9)
    made.copy(["rsync"], ["file"], str(tmp_path), tmp_path / "bin", told.append)
    assert len(told) == len(tried.read_text().splitlines()) > 1
