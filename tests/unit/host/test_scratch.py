"""What a job needs for its time only, and what is left of it when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from barman.host.scratch import scratch_directory

_HOLDER = """
import sys, time
from pathlib import Path
from barman.host.scratch import scratch_directory
with scratch_directory("job-", Path(sys.argv[1])) as directory:
    (directory / "large").write_text("x")
    print(directory, flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process with such a directory, and the directory's name."""
    with subprocess.Popen([sys.executable, "-c", _HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, os.path.basename(process.stdout.readline().strip())
        process.kill()


def test_it_is_ours_alone_and_gone_afterwards(tmp_path):
    with scratch_directory("job-", tmp_path, label="20260101-") as directory:
        assert directory.name.startswith("job-20260101-")
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "below").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_that_of_a_living_process_stays(holder, tmp_path):
    _, name = holder
    with scratch_directory("job-", tmp_path) as directory:
        assert {path.name for path in tmp_path.iterdir()} == {name, directory.name}
    assert (tmp_path / name / "large").exists()


def test_that_of_a_killed_process_goes_with_the_next(holder, tmp_path):
    process, _ = holder
    process.send_signal(signal.SIGKILL)
    process.wait()
    with scratch_directory("job-", tmp_path) as directory:
        assert list(tmp_path.iterdir()) == [directory]


def test_others_of_that_name_are_left_alone(tmp_path):
    (tmp_path / "job-file").touch()
    (tmp_path / "else").mkdir()
    (tmp_path / "job-link").symlink_to(tmp_path / "else")
    with scratch_directory("job-", tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"job-file", "job-link", "else"}


def test_many_at_once_take_nothing_from_each_other(tmp_path):
    lost = []

    def work():
        for number in range(50):
            with scratch_directory("job-", tmp_path) as directory:
                (directory / str(number)).touch()
                if [path.name for path in directory.iterdir()] != [str(number)]:
                    lost.append(directory)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == []
    assert list(tmp_path.iterdir()) == []
