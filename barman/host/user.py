"""Becoming the operating-system user who owns the backups. Hot-safe."""

from __future__ import annotations

import os

from barman.errors import ConfigError


def become_user(name: str) -> None:
    """Make name the user of this process, with all its groups and its HOME; nothing when it already is.

    There is no way back. ConfigError if the user does not exist or we may not.
    """
    import pwd

    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(
            f"the user '{name}' of option barman_user does not exist",
            hint="Create the user, or set barman_user in the [barman] section.",
        ) from None
    if os.geteuid() == entry.pw_uid:
        return
    try:
        os.initgroups(name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError:
        raise ConfigError(
            f"cannot become the user '{name}' of option barman_user", hint=f"Run barman as '{name}' or as root."
        ) from None
    os.environ["HOME"] = entry.pw_dir
