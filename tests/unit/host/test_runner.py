"""Running programs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from barman.errors import CommandError
from barman.host import runner


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_gone(pid):
    end = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_running(pid)


def test_output_and_status_come_back():
    ended = runner.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=10, check=False)
    assert ended == runner.Completed(3, "out\n", "err\n")


def test_input_is_given():
    content = os.urandom(1 << 20).hex()
    assert runner.run(["cat"], timeout_s=10, input=content.encode()).stdout == content


def test_a_program_that_does_not_read_its_input_is_no_error():
    assert runner.run(["true"], timeout_s=10, input=b"x" * (1 << 20)).status == 0


def test_without_input_there_is_nothing_to_read():
    assert runner.run(["cat"], timeout_s=10).stdout == ""


def test_files_can_be_connected(tmp_path):
    (tmp_path / "in").write_bytes(b"content")
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        ended = runner.run(["cat"], timeout_s=10, stdin=source, stdout=target)
    assert (tmp_path / "out").read_bytes() == b"content"
    assert ended.stdout == ""


def test_lines_are_handed_over_as_they_come():
    lines = []
    ended = runner.run(
        ["sh", "-c", "for n in $(seq 50); do echo $n; done; printf last"], timeout_s=10, on_line=lines.append
    )
    assert lines == [*map(str, range(1, 51)), "last"]
    assert ended.stdout.splitlines()[-2:] == ["50", "last"]
    assert len(ended.stdout.splitlines()) < 30, "only the tail is kept"


def test_a_failure_tells_status_and_last_words():
    with pytest.raises(CommandError, match="exit status 2: it is broken") as caught:
        runner.run(["sh", "-c", "echo first >&2; echo it is broken >&2; exit 2"], timeout_s=10)
    assert caught.value.status == 2
    assert caught.value.stderr == "first\nit is broken"


def test_a_signal_is_told():
    with pytest.raises(CommandError, match="signal 9") as caught:
        runner.run(["sh", "-c", "kill -9 $$"], timeout_s=10)
    assert caught.value.status == -9


def test_secrets_are_masked():
    with pytest.raises(CommandError) as caught:
        runner.run(["sh", "-c", "exit 1", "secret"], timeout_s=10, shown=["sh", "-c", "exit 1", "***"])
    assert "secret" not in str(caught.value)
    assert caught.value.argv == ("sh", "-c", "exit 1", "***")


def test_a_missing_program_is_told():
    with pytest.raises(CommandError, match="cannot run 'no-such-program': No such file") as caught:
        runner.run(["no-such-program"], timeout_s=10)
    assert caught.value.status is None


def test_the_time_limit_ends_the_whole_group(tmp_path):
    script = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(CommandError, match=r"within 0.5 seconds"):
        runner.run(["sh", "-c", script], timeout_s=0.5)
    assert wait_gone(int((tmp_path / "pid").read_text()))


def test_of_a_killed_program_the_children_that_hold_its_output_are_ended(tmp_path):
    script = f"sleep 600 & echo $! > {tmp_path}/pid; kill -9 $$"
    assert runner.run(["sh", "-c", script], timeout_s=None, check=False).status == -signal.SIGKILL
    assert wait_gone(int((tmp_path / "pid").read_text()))


def test_of_a_program_that_ended_well_the_children_may_end_their_work():
    assert runner.run(["sh", "-c", "(sleep 2; echo done) &"], timeout_s=60).stdout == "done\n"


def test_the_time_limit_holds_for_a_program_that_closed_its_output():
    with pytest.raises(CommandError, match="within"):
        runner.run(["sh", "-c", "exec >&- 2>&-; sleep 60"], timeout_s=0.5)


def test_an_exception_ends_the_program_and_is_the_one_raised(tmp_path):
    pids = []

    def stop(line):
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(["sh", "-c", "echo $$; exec sleep 60"], timeout_s=None, on_line=stop)
    assert wait_gone(pids[0])


def test_ticks_come_while_it_is_silent():
    ticks = []

    def tick():
        ticks.append(1)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        runner.run(["sleep", "60"], timeout_s=None, on_tick=tick)
    assert ticks == [1]


def test_the_stop_signal_is_the_one_asked_for(tmp_path):
    script = f"trap 'echo interrupted > {tmp_path}/said; exit' INT; sleep 60 & wait"
    with pytest.raises(CommandError):
        runner.run(["sh", "-c", script], timeout_s=0.5, stop_signal=signal.SIGINT)
    assert (tmp_path / "said").read_text() == "interrupted\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs PR_SET_PDEATHSIG")
def test_a_program_does_not_outlive_a_killed_parent(tmp_path):
    script = f"echo $$ > {tmp_path}/pid; exec sleep 60"
    program = f"from barman.host.runner import run; run(['sh', '-c', {script!r}], timeout_s=None)"
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        end = time.monotonic() + 10
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert time.monotonic() < end
            time.sleep(0.02)
        parent.kill()
    assert wait_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs PR_SET_PDEATHSIG")
def test_a_program_does_not_begin_when_its_parent_was_killed_meanwhile(tmp_path):
    late = tmp_path / "setpriv"
    late.write_text(
        f"#!/bin/sh\necho $$ > {tmp_path}/pid\nwhile ! [ -e {tmp_path}/go ]; do sleep 0.02; done\n"
        f'exec {shutil.which("setpriv")} "$@"\n'
    )
    late.chmod(0o755)
    program = f"from barman.host.runner import run; run(['touch', '{tmp_path}/begun'], timeout_s=None)"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as parent:
        end = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert time.monotonic() < end
            time.sleep(0.02)
        parent.kill()
    (tmp_path / "go").touch()
    assert wait_gone(int((tmp_path / "pid").read_text()))
    assert not (tmp_path / "begun").exists()


def test_shell_text_is_run_by_the_shell():
    assert runner.run_shell("echo $((6 * 7)) | cat", timeout_s=10).stdout == "42\n"


def test_a_detached_program_lives_on_its_own(tmp_path):
    pid = runner.spawn_detached(["sh", "-c", f"ps -o sid= -p $$ > {tmp_path}/sid; exit 0"])
    os.waitpid(pid, 0)
    assert int((tmp_path / "sid").read_text()) == pid


def test_a_detached_program_that_is_not_there_is_told():
    with pytest.raises(CommandError, match="cannot run 'no-such-program'"):
        runner.spawn_detached(["no-such-program"])


def test_programs_are_looked_for_in_the_prefix_first(tmp_path):
    (tmp_path / "sh").write_text("")
    (tmp_path / "sh").chmod(0o755)
    assert runner.which("sh", str(tmp_path)) == str(tmp_path / "sh")
    assert runner.which("sh") != str(tmp_path / "sh")
    assert runner.environment("/first", LC_ALL="C")["PATH"].startswith("/first:")
    assert runner.environment(LC_ALL="C")["LC_ALL"] == "C"
