"""An sshd of the test's own: on a loopback port, for the unprivileged user, with its own keys."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.support.processes import children_of, run, start, wait_until
from tests.support.users import give, unprivileged_user

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

_CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub
PidFile {directory}/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
MaxStartups 100
AcceptEnv BARMAN_TEST_OWNER
Subsystem sftp internal-sftp
"""


def is_ssh_possible() -> bool:
    """Whether sshd and rsync are installed."""
    return _SSHD is not None and shutil.which("rsync") is not None


class Sshd:
    """A running sshd. Its processes and those it starts are ended with the directory's."""

    def __init__(self, directory: Path, **variables: object) -> None:
        """directory: a new one, in the scratch directory of the test. variables: of the environment of every login."""
        assert _SSHD is not None
        directory.mkdir()
        give(directory)
        self.directory = directory
        for name in ("host_key", "user_key"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        configuration = directory / "sshd_config"
        text = _CONFIGURATION.format(port=self.port, directory=directory)
        settings = " ".join(f'{name}="{value}"' for name, value in variables.items())
        configuration.write_text(text + (f"SetEnv {settings}\n" if settings else ""))
        give(configuration)
        _allow_login()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        assert _SSHD is not None
        argv = [_SSHD, "-D", "-e", "-f", str(self.directory / "sshd_config"), "-E", str(self.directory / "sshd.log")]
        self._process = start(argv)
        wait_until(self._listens, "sshd listens")

    def close(self) -> None:
        """End it; connections go on."""
        if self._process is not None:
            self._process.kill()
            # What serves the connections holds its standard error, so the end of that is not waited for.
            with self._process:
                pass

    @property
    def pid(self) -> int:
        """The pid of the listener."""
        assert self._process is not None
        return self._process.pid

    def sessions(self) -> list[int]:
        """The pids of what serves connections, and of the programs they started."""
        return children_of(self.pid)

    def make_known(self) -> None:
        """Make its key known to whoever uses command."""
        key = (self.directory / "host_key.pub").read_text()
        (self.directory / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}")

    def logins(self) -> int:
        """How often somebody was let in."""
        return (self.directory / "sshd.log").read_text().count("Accepted publickey")

    def program(self, directory: Path, *, programs: Path) -> Path:
        """Make a directory with a program ssh that gets there whatever host it is told, and return the directory.

        programs: where the far side finds what it is to run. A connection that is silent for two seconds counts as cut.
        """
        directory.mkdir()
        words = self.command.rpartition(" ")[0].replace("ssh ", "exec /usr/bin/ssh ", 1)
        alive = "-o StrictHostKeyChecking=accept-new -o ServerAliveInterval=1 -o ServerAliveCountMax=2"
        login = f"-l {unprivileged_user().pw_name} PATH={programs}:/usr/bin:/bin"
        script = (
            "#!/bin/sh\n"
            "options=\n"
            "while :; do case $1 in\n"
            '    -o) options="$options -o $2"; shift 2 ;;\n'
            "    -[pF]) shift 2 ;;\n"
            '    -G) options="$options -G"; shift ;;\n'
            "    -*) shift ;;\n"
            "    *) break ;;\n"
            f'esac; done\nshift\n{words} {alive} $options 127.0.0.1 {login} "$@"\n'
        )
        (directory / "ssh").write_text(script)
        (directory / "ssh").chmod(0o755)
        return directory

    @property
    def command(self) -> str:
        """The ssh_command that gets there."""
        known = f"-o UserKnownHostsFile={self.directory}/known_hosts"
        where = f"{unprivileged_user().pw_name}@127.0.0.1"
        return f"ssh -F none -o LogLevel=ERROR -p {self.port} -i {self.directory}/user_key {known} {where}"

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _allow_login() -> None:
    """An account made without a password is locked, for sshd too, unless it has an impossible one.

    Without a home, the shell that sshd starts says so, and Barman 3.19 takes no output but its own.
    """
    if os.geteuid() == 0:
        user = unprivileged_user()
        subprocess.run(["usermod", "-p", "*", user.pw_name], check=False, capture_output=True)
        home = Path(user.pw_dir)
        if not home.exists():
            home.mkdir(parents=True, exist_ok=True)
            give(home)
