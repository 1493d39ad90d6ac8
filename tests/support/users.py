"""The user PostgreSQL and barman run as in tests: the current one, or an unprivileged one when root runs the tests."""

from __future__ import annotations

import functools
import os
import pwd
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@functools.cache
def unprivileged_user() -> pwd.struct_passwd:
    """Return the account programs under test run as; root gets one made (BARMAN_TEST_USER, default barman-test)."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    name = os.environ.get("BARMAN_TEST_USER", "barman-test")
    try:
        return pwd.getpwnam(name)
    except KeyError:
        argv = ["useradd", "--system", "--no-create-home", "--user-group", "--shell", "/bin/bash", name]
        # several worker processes may try at once: whoever comes second finds it made
        subprocess.run(argv, check=False, capture_output=True)
        return pwd.getpwnam(name)


def as_user() -> dict[str, Any]:
    """Arguments for subprocess that make the child that user; none when it is the current one."""
    user = unprivileged_user()
    if user.pw_uid == os.geteuid():
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give(path: Path, mode: int | None = None) -> Path:
    """Make path belong to that user, with mode if given; return it."""
    user = unprivileged_user()
    if user.pw_uid != os.geteuid():
        os.chown(path, user.pw_uid, user.pw_gid)
    if mode is not None:
        path.chmod(mode)
    return path
