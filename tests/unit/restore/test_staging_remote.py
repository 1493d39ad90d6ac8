from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from barman.errors import Permanent
from barman.progress import LogReporter
from barman.restore.staging_remote import COMBINER_PID, staging_there


class _Told(LogReporter):
    def __init__(self):
        self.warnings = []

    def warning(self, message):
        self.warnings.append(message)


def test_a_staging_directory_is_there_for_the_time_of_the_block(session, tmp_path):
    parent = tmp_path / "a 'b' $c" / "staging"

    with staging_there(session, parent, "id", LogReporter()) as directory:
        assert list(parent.iterdir()) == [directory]
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "deep").mkdir()

    assert list(parent.iterdir()) == []


def test_it_goes_when_something_fails_and_the_program_that_works_in_it_is_ended_first(session, tmp_path):
    def fail(pid):
        with staging_there(session, tmp_path / "staging", "id", LogReporter()) as directory:
            (directory / COMBINER_PID).write_text(f"{pid}\n")
            raise ZeroDivisionError

    with ThreadPoolExecutor() as pool, subprocess.Popen(["sleep", "600"]) as program:
        # Until somebody has asked how it ended, it counts as there.
        ended = pool.submit(program.wait)
        with pytest.raises(ZeroDivisionError):
            fail(program.pid)

    assert ended.result() == -signal.SIGKILL
    assert list((tmp_path / "staging").iterdir()) == []


def test_what_an_earlier_restore_left_goes_and_what_is_in_use_stays(session, tmp_path):
    node = os.uname().nodename
    with subprocess.Popen(["true"]) as ended:
        pass
    names = [
        f"barman-combine-id-{node}-{ended.pid}",
        f"barman-combine-id-{node}-{os.getpid()}",
        "barman-combine-x",
        "x",
    ]
    for name in names:
        (tmp_path / "staging" / name / "data").mkdir(parents=True)

    with staging_there(session, tmp_path / "staging", "id", LogReporter()):
        pass

    assert sorted(path.name for path in (tmp_path / "staging").iterdir()) == sorted(names[1:])


def test_a_directory_that_cannot_be_made_is_told(session, tmp_path):
    (tmp_path / "file").touch()

    with (
        pytest.raises(Permanent, match=r"cannot make a directory in .*/file/x on there: .*Not a directory"),
        staging_there(session, tmp_path / "file" / "x", "id", LogReporter()),
    ):
        pass


def test_a_directory_that_cannot_be_removed_is_told(session, tmp_path):
    reporter = _Told()

    with staging_there(session, tmp_path / "staging", "id", reporter) as directory:
        pid = directory.name.rpartition("-")[2]
        subprocess.run(["kill", "-9", pid], check=True)

    [warning] = reporter.warnings
    assert f"{directory} on there could not be removed" in warning
