"""The settings that make PostgreSQL recover, for its version. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.postgres.versions import Feature, supports
from barman.restore.settings import quote
from barman.restore.targets import Target, TargetAction, TargetKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.restore.targets import TimelineChoice

# PostgreSQL looks into its own WAL directory for every file that restore_command does not deliver.
NOTHING_TO_FETCH = "false"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What is written so that PostgreSQL recovers. file: below the data directory, lines are appended to it.

    signal: name of the empty file beside it that starts recovery; None before PostgreSQL 12. names: the settings among
    the lines.
    """

    file: str
    signal: str | None
    lines: tuple[str, ...]
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class WalAccess:
    """How the restored cluster gets its WAL. Commands are complete, as PostgreSQL is to run them; None: not set."""

    restore_command: str | None
    recovery_end_command: str | None = None
    comment: str | None = None


def build_recovery(
    *,
    version: int,
    target: Target | None,
    action: TargetAction | None,
    timeline: TimelineChoice | None,
    access: WalAccess,
    is_standby: bool,
    file_name: str = "postgresql.auto.conf",
) -> Recovery:
    """Return the recovery settings for a cluster of that version.

    timeline: what recovery_target_timeline is set to; None leaves PostgreSQL's default. file_name: where the settings
    go from PostgreSQL 12 on; older ones have recovery.conf.
    """
    settings = [*_access(access), *_target(target), *_timeline(version, timeline)]
    if action is not None:
        settings.append(("recovery_target_action", quote(action.value)))
    has_signal = supports(version, Feature.RECOVERY_SIGNAL)
    if is_standby and not has_signal:
        settings.append(("standby_mode", quote("on")))
    lines = [f"# {access.comment}"] if access.comment else []
    lines += [f"{name} = {value}" for name, value in settings]
    signal = "standby.signal" if is_standby else "recovery.signal"
    return Recovery(
        file=file_name if has_signal else "recovery.conf",
        signal=signal if has_signal else None,
        lines=tuple(lines),
        names=frozenset(name for name, _ in settings),
    )


def staged_wal(directory: str) -> WalAccess:
    """Return how PostgreSQL takes its WAL from a directory that is removed when recovery ends."""
    place = _shell_word(directory)
    return WalAccess(f"cp {place}/%f %p", f"rm -fr {place}")


def local_get_wal(program: Sequence[str], server_name: str, *, takes_partial: bool) -> WalAccess:
    """Return how PostgreSQL fetches its WAL with get-wal on this host. program: barman with its global options."""
    words = [*program, "get-wal", *(["-P"] if takes_partial else []), server_name]
    return WalAccess(
        " ".join(_shell_word(word) for word in words) + " %f > %p",
        comment="The 'barman get-wal' command must run as a user that can read the WAL archive",
    )


def remote_get_wal(
    server_name: str,
    *,
    user: str,
    host: str,
    config_path: str | None,
    port: int | None,
    jobs: int,
    takes_partial: bool,
) -> WalAccess:
    """Return how PostgreSQL fetches its WAL from another host, where barman is, as user of it.

    config_path: of barman there; None: it finds its own. port: of its ssh server; None: the usual one. jobs: how many
    files are fetched at a time.
    """
    words = ["barman-wal-restore", *(["-P"] if takes_partial else []), "-U", user]
    words += ["--port", str(port)] if port is not None else []
    words += ["-c", config_path] if config_path is not None else []
    command = " ".join(_shell_word(word) for word in (*words, host, server_name)) + " %f %p"
    return WalAccess(
        command + (f" -p {jobs}" if jobs > 1 else ""),
        comment=f"The 'barman-wal-restore' command is part of the package barman-cli; it logs in as {user} to {host}",
    )


def _shell_word(text: str) -> str:
    # PostgreSQL replaces %-sequences before the shell sees the command.
    return shlex.quote(text).replace("%", "%%")


def _access(access: WalAccess) -> list[tuple[str, str]]:
    settings = []
    if access.restore_command is not None:
        settings.append(("restore_command", quote(access.restore_command)))
    if access.recovery_end_command is not None:
        settings.append(("recovery_end_command", quote(access.recovery_end_command)))
    return settings


def _target(target: Target | None) -> list[tuple[str, str]]:
    if target is None:
        return []
    if target.kind is TargetKind.IMMEDIATE:
        return [("recovery_target", quote("immediate"))]
    settings = [(f"recovery_target_{target.kind.value}", quote(target.text))]
    if not target.inclusive:
        settings.append(("recovery_target_inclusive", quote("False")))
    return settings


def _timeline(version: int, timeline: TimelineChoice | None) -> list[tuple[str, str]]:
    # Before 12 the word "current" is unknown, and what it means is the default.
    if timeline is None or (timeline == "current" and not supports(version, Feature.RECOVERY_SIGNAL)):
        return []
    return [("recovery_target_timeline", str(timeline))]
