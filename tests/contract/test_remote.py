"""Both ways to run commands on another host do the same: paramiko's, and OpenSSH's."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from barman.errors import CommandError, NotFound
from barman.host import runner
from barman.host.session import Session, open_remote, open_session
from tests.support.processes import wait_until

_NAME = r"\S+@127\.0\.0\.1"


@pytest.fixture(params=["paramiko", "openssh"])
def way(request):
    return request.param


@pytest.fixture
def known(sshd):
    """Make the key of the test's host known, and return the command that gets there."""
    sshd.make_known()
    return sshd.command


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) - before == set()


@contextlib.contextmanager
def _open(way, command, env=os.environ):
    with (open_remote if way == "paramiko" else open_session)(command, env=env) as remote:
        assert isinstance(remote, Session) == (way == "openssh")
        yield remote


def test_files_of_any_size_are_copied(way, known, scratch):
    path = scratch / "large"
    path.write_bytes(bytes(range(256)) * (33 << 12))
    copy = io.BytesIO()

    with _open(way, known) as remote:
        remote.copy_file(path, copy)
        with pytest.raises(NotFound):
            remote.copy_file(scratch / "missing", copy)

    assert copy.getvalue() == path.read_bytes()


def test_programs_and_files_go_over_one_login(way, sshd, known, scratch):
    place = f"{scratch}/a place of 'mine'"
    data = bytes(range(256)) * 500

    with _open(way, known) as remote:
        remote.run(["mkdir", place])
        remote.script('umask 077; cat >"$1"', f"{place}/file", input=data)
        assert remote.read_file(f"{place}/file") == data
        assert remote.read_file(f"{place}/missing") is None
        assert remote.script('printf "%s|" "$@"', "one  two", "$HOME", "").stdout == "one  two|$HOME||"
        assert remote.run(["cat"], input=b"\0\xff\r\n").stdout == os.fsdecode(b"\0\xff\r\n")
        assert remote.run(["printf", "%s", os.fsdecode(b"a\xffb")]).stdout == os.fsdecode(b"a\xffb")

    assert os.listdir(place) == ["file"]
    assert sshd.logins() == 1


def test_how_a_program_ends_is_told(way, known):
    with _open(way, known) as remote:
        done = remote.script("echo out; echo why >&2; exit 7", check=False)
        assert done == (7, "out\n", "why\n")
        with pytest.raises(CommandError, match=rf"^{_NAME}: 'sh' failed: why$") as caught:
            remote.script("echo why >&2; exit 7")
        assert caught.value.status == 7
        with pytest.raises(CommandError, match=rf"^{_NAME}: 'false' failed: exit status 1$"):
            remote.run(["false"])
        assert remote.run(["no-such-program"], check=False).status == 127


def test_much_goes_both_ways_at_once(way, known):
    data = os.urandom(1 << 20) * 12

    with _open(way, known) as remote:
        assert os.fsencode(remote.run(["cat"], input=data).stdout) == data
        done = remote.script("head -c 12000000 /dev/zero >&2; echo done >&2; head -c 5000000 /dev/zero", input=data)

    assert len(done.stdout) == 5_000_000
    assert done.stderr.endswith("done\n")


def test_a_program_that_does_not_read_is_no_failure(way, known):
    with _open(way, known) as remote:
        assert remote.run(["true"], input=b"x" * 5_000_000).status == 0


def test_a_program_that_takes_too_long_is_given_up(way, known):
    with _open(way, known) as remote:
        with pytest.raises(CommandError, match=r"^'sleep 20 on \S+' did not end within 0.5 seconds$"):
            remote.run(["sleep", "20"], timeout_s=0.5)
        assert remote.run(["echo", "on"]).stdout == "on\n"


@pytest.mark.parametrize("data", [b"", b"x" * 30_000_000], ids=["listening", "sending"])
def test_a_host_that_freezes_is_given_up(way, sshd, known, data):
    with _open(way, known) as remote:
        # Now the login is complete, and the process that serves it is the last.
        remote.run(["true"])
        frozen = sshd.sessions()
        _signal(frozen, signal.SIGSTOP)
        began = time.monotonic()
        try:
            with pytest.raises(CommandError, match=r"did not end within 1 seconds$"):
                remote.run(["cat"], input=data, timeout_s=1)
            assert time.monotonic() - began < 8
        finally:
            _signal(frozen, signal.SIGCONT)


def _signal(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def test_a_connection_that_breaks_is_a_failure_of_its_own(way, sshd, known):
    with _open(way, known) as remote:
        pids = runner.run(["pgrep", "-P", str(sshd.pid)], timeout_s=10).stdout.split()
        with pytest.raises(CommandError, match=rf"^the connection to {_NAME} failed: "):
            remote.script('kill "$@"; sleep 20', *pids)


def test_noise_of_the_login_shell_comes_before_the_answer(way, sshd, known):
    sshd.close()
    with (sshd.directory / "sshd_config").open("a") as configuration:
        configuration.write('ForceCommand echo welcome; eval "$SSH_ORIGINAL_COMMAND"\n')
    sshd.start()

    with _open(way, known) as remote:
        assert remote.run(["echo", "answer"]).stdout == "welcome\nanswer\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("ssh -F none -p 1 nobody@127.0.0.1", "Connection refused"),
        ("ssh -F none nobody@no-such-host.invalid", "Could not resolve hostname"),
        ("{command} -o IdentitiesOnly=yes -i /nonexistent", "Permission denied"),
        ("{command} -i {other}", "Permission denied"),
    ],
    ids=["unreachable", "unknown", "no key", "wrong key"],
)
def test_a_failed_login_names_the_host_and_the_reason(way, words, reason, sshd, known):
    command = words.format(
        command=known.replace(f"-i {sshd.directory}/user_key ", ""), other=sshd.directory / "host_key"
    )
    opener = open_remote if way == "paramiko" else open_session

    with (
        pytest.raises(CommandError, match=rf"^cannot log in to \S+: .*{reason}[^\n]*$"),
        opener(command, env=os.environ),
    ):
        pass


def test_a_host_whose_key_has_changed_is_not_trusted(way, sshd, known):
    other = (sshd.directory / "user_key.pub").read_text()
    (sshd.directory / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {other}")
    opener = open_remote if way == "paramiko" else open_session

    with (
        pytest.raises(CommandError, match=rf"^cannot log in to {_NAME}: Host key verification failed"),
        opener(known, env=os.environ),
    ):
        pass


def test_a_new_host_is_trusted_unless_the_user_says_otherwise(way, sshd):
    opener = open_remote if way == "paramiko" else open_session
    strict = sshd.command.replace(" -p ", " -o StrictHostKeyChecking=yes -p ")
    with (
        pytest.raises(CommandError, match=rf"^cannot log in to {_NAME}: Host key verification failed"),
        opener(strict, env=os.environ),
    ):
        pass

    with opener(sshd.command, env=os.environ) as remote:
        assert remote.run(["echo", "in"]).stdout == "in\n"

    # It is known from now on.
    with _open(way, strict) as remote:
        assert remote.run(["echo", "in"]).stdout == "in\n"


def test_what_the_user_configured_counts(way, sshd, known, scratch):
    _, _, where = known.rpartition(" ")
    config = scratch / "ssh_config"
    config.write_text(
        f"Host source\n  HostName 127.0.0.1\n  User {where.partition('@')[0]}\n  Port {sshd.port}\n"
        f"  IdentityFile {sshd.directory}/user_key\n  UserKnownHostsFile {sshd.directory}/known_hosts\n"
        "  SendEnv BARMAN_TEST_*\n  GSSAPIAuthentication yes\n  HashKnownHosts yes\n"
    )

    with _open(way, f"ssh -F {config} source", os.environ | {"BARMAN_TEST_OWNER": "me"}) as remote:
        assert remote.name == "source"
        assert remote.script("echo $BARMAN_TEST_OWNER").stdout == "me\n"


def test_the_end_of_the_block_ends_the_login(way, sshd, known):
    with _open(way, known) as remote:
        remote.run(["true"])
        assert sshd.sessions()
    wait_until(lambda: not sshd.sessions(), "the login ends")


_PROGRAM = """
import os, signal, sys
from barman.errors import Terminated
from barman.host.session import open_remote, open_session

def stop(*_):
    raise Terminated

signal.signal(signal.SIGTERM, stop)
with (open_remote if sys.argv[1] == "paramiko" else open_session)(sys.argv[2], env=os.environ) as remote:
    print("in", flush=True)
    remote.script('touch "$1"; exec sleep 20', sys.argv[4], input=b"x" * int(sys.argv[3]))
"""


@pytest.mark.parametrize("size", [0, 50_000_000], ids=["listening", "sending"])
def test_a_signal_ends_it_at_once(way, size, known, scratch):
    argv = [sys.executable, "-c", _PROGRAM, way, known, str(size), str(scratch / "begun")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in\n"
        wait_until((scratch / "begun").exists, "it runs")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    assert said.strip().splitlines()[-1] == "barman.errors.Terminated"
    assert process.returncode == 1


# what is OpenSSH's alone to do, although the host is known


@pytest.mark.parametrize(
    "option",
    ["ProxyCommand", "Ciphers=aes256-ctr", "ForwardAgent=yes", "CertificateFile={directory}/none"],
)
def test_what_only_openssh_does_is_left_to_openssh(option, sshd, known):
    words = option.format(port=sshd.port, directory=sshd.directory)
    if words.startswith("ProxyCommand"):
        program = sshd.directory / "proxy.py"
        program.write_text(_PROXY)
        words = f"ProxyCommand={sys.executable} {program} {sshd.port}"
    command = known.replace(" -p ", f" -o {shlex.quote(words)} -p ")

    with _open("openssh", command) as remote, open_remote(command, env=os.environ) as same:
        assert isinstance(same, Session)
        assert same.run(["echo", "in"]).stdout == remote.run(["echo", "in"]).stdout == "in\n"


_PROXY = """
import os, socket, sys, threading

link = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def up():
    while data := os.read(0, 65536):
        link.sendall(data)
    os._exit(0)
threading.Thread(target=up, daemon=True).start()
while data := link.recv(65536):
    os.write(1, data)
"""


@pytest.mark.parametrize("name", ["connect", "ssh"])
def test_a_script_of_the_user_is_called_whatever_its_name(name, sshd, known, scratch):
    words, _, where = known.rpartition(" ")
    script = scratch / name
    script.write_text(f'#!/bin/sh\ntouch {scratch}/called\nexec {words.replace("ssh", "/usr/bin/ssh", 1)} "$@"\n')
    script.chmod(0o755)

    with open_remote(f"{script} {where}", env=os.environ) as remote:
        assert isinstance(remote, Session)
        assert remote.run(["echo", "in"]).stdout == "in\n"
    assert (scratch / "called").exists()


def test_a_revoked_key_is_seen(sshd, known):
    with (sshd.directory / "known_hosts").open("a") as file:
        file.write(f"@revoked * {(sshd.directory / 'host_key.pub').read_text()}")

    with pytest.raises(CommandError, match=rf"^cannot log in to {_NAME}: "), open_remote(known, env=os.environ):
        pass


def test_a_host_that_accepts_but_says_nothing_is_given_up(sshd, known, monkeypatch):
    from barman.host import ssh_client

    monkeypatch.setattr(ssh_client, "_CONNECT_LIMIT_S", 1.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        key = (sshd.directory / "host_key.pub").read_text()
        (sshd.directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}")
        command = known.replace(f"-p {sshd.port}", f"-p {port}")
        with (
            pytest.raises(CommandError, match=rf"^cannot log in to {_NAME}: .*does not answer$"),
            open_remote(command, env=os.environ),
        ):
            pass


def test_small_messages_are_not_kept_back(sshd, known):
    with _open("paramiko", known):
        links = [link for link in map(_socket_of, os.listdir("/proc/self/fd")) if link is not None]
        ours = [link for link in links if link.family == socket.AF_INET and _peer(link) == ("127.0.0.1", sshd.port)]
        delays = [link.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for link in ours]
        for link in links:
            link.close()
    assert delays
    assert all(delays)


def _socket_of(number):
    with contextlib.suppress(OSError):
        if os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
            return socket.socket(fileno=os.dup(int(number)))
    return None


def _peer(link):
    with contextlib.suppress(OSError):
        return link.getpeername()
    return None


class _Records(logging.Handler):
    def __init__(self):
        super().__init__()
        self.names = set()

    def emit(self, record):
        self.names.add(record.name.partition(".")[0])


def test_nothing_of_paramiko_reaches_the_user(sshd, known, capfd, caplog):
    caplog.set_level(logging.DEBUG, logger="barman")
    root, records = logging.getLogger(), _Records()
    level = root.level
    root.addHandler(records)
    root.setLevel(logging.DEBUG)
    try:
        with _open("paramiko", known) as remote:
            remote.run(["true"])
        with pytest.raises(CommandError), open_remote(known.replace("user_key", "host_key"), env=os.environ):
            pass
    finally:
        root.removeHandler(records)
        root.setLevel(level)

    assert records.names == {"barman"}
    assert capfd.readouterr() == ("", "")
