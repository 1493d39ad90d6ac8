"""Making the configuration of a restored cluster safe, and telling it to recover: the files."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from barman.host.files import write_durably
from barman.postgres.control_file import parse_limits
from barman.restore.advice import find_shortfalls
from barman.restore.exclusions import HELD_BACK
from barman.restore.settings_plan import AUTO, MAIN, plan_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from barman.restore.plan import RestorePlan
    from barman.restore.settings_plan import SettingsPlan

_FILE_MODE = 0o600


class DirectoryFiles:
    """The configuration files of a data directory on this host. is_absent: names that count as not there."""

    def __init__(self, root: Path, *, is_absent: Callable[[str], bool] = lambda _: False) -> None:
        """root: the data directory, absolute."""
        self._root = root
        self._is_absent = is_absent

    def read(self, name: str) -> str | None:
        """Return the text, bytes that are none as surrogates; None unless it is a file."""
        if self.size(name) is None:
            return None
        return (self._root / name).read_bytes().decode("utf-8", "surrogateescape")

    def size(self, name: str) -> int | None:
        """Return the size in bytes; None unless it is a file."""
        path = self._root / name
        return path.stat().st_size if path.is_file() and not self._is_absent(name) else None

    def listing(self, directory: str) -> Sequence[str]:
        """Return what is in a directory; nothing if there is none."""
        with contextlib.suppress(OSError):
            return os.listdir(self._root / directory)
        return []

    def leads_out(self, name: str) -> bool:
        """Whether a link on the way leads out of the data directory."""
        return not Path(os.path.realpath(self._root / name)).is_relative_to(os.path.realpath(self._root))


def configure(plan: RestorePlan, root: Path) -> SettingsPlan:
    """Put everything out of force that must not act in the restored cluster, and write the recovery settings.

    root: where the destination's files can be written: the destination itself, or what was brought here from it.
    Returns what was done. A file that is changed leaves its former self in FILE.origin; so do the two main files in any
    case, as with Barman 3.19. What falls short of the limits of the origin is noted, if the plan could not tell.
    """
    settings = plan_settings(
        DirectoryFiles(root),
        destination=os.fspath(plan.destination),
        record=plan.record,
        recovery=plan.recovery,
        is_standby=plan.is_standby,
    )
    for name in sorted({MAIN, AUTO, *settings.edits}):
        _keep_former(root / name)
    for name, text in settings.edits.items():
        _write(root / name, text)
    if plan.recovery.signal is not None:
        write_durably(root / plan.recovery.signal, b"", mode=_FILE_MODE)
    control = root / HELD_BACK
    if plan.settings is None and control.exists():
        shortfalls = find_shortfalls(settings, parse_limits(control.read_bytes()))
        settings = replace(settings, notes=(*settings.notes, *shortfalls))
    return settings


def _keep_former(path: Path) -> None:
    if path.is_file():
        write_durably(path.with_name(path.name + ".origin"), path.read_bytes(), mode=_mode(path))


def _write(path: Path, text: str) -> None:
    write_durably(path, text.encode("utf-8", "surrogateescape"), mode=_mode(path))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else _FILE_MODE
