"""Making the configuration of a restored cluster safe, and telling it to recover."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from barman.host.files import write_durably
from barman.postgres.versions import Feature, supports
from barman.restore.settings import Finding, Include, mangle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.restore.plan import RestorePlan
    from barman.restore.recovery import Recovery

MAIN = "postgresql.conf"
AUTO = "postgresql.auto.conf"
_EXPECTED = (MAIN, AUTO, "pg_hba.conf", "pg_ident.conf")
_FILE_MODE = 0o600


class FileFinding(NamedTuple):
    """A setting that was changed, or is to be looked at. file: relative to the data directory."""

    file: str
    line: int
    option: str
    value: str


@dataclass(frozen=True, slots=True)
class Configured:
    """What was done to the configuration. missing_files: usual ones the backup does not have. notes: for people."""

    changes: tuple[FileFinding, ...]
    warnings: tuple[FileFinding, ...]
    missing_files: tuple[str, ...]
    notes: tuple[str, ...]


def configure(plan: RestorePlan) -> Configured:
    """Put everything out of force that must not act in the restored cluster, and write the recovery settings.

    A file that is changed leaves its former self in FILE.origin. Files that are included from outside the data
    directory are not ours to change; archiving is then switched off in postgresql.auto.conf, which comes after them.
    """
    editor = _Editor(plan)
    editor.edit(MAIN)
    editor.edit(AUTO)
    editor.edit(plan.recovery.file)
    if editor.unseen or _is_configured_elsewhere(plan):
        editor.append(AUTO, _archiving_off(plan))
    _write_recovery(editor, plan)
    editor.save()
    return Configured(
        changes=tuple(editor.changes),
        warnings=tuple(editor.warnings),
        missing_files=tuple(name for name in _EXPECTED if not (plan.destination / name).exists()),
        notes=tuple(f"{path} lies outside the data directory and was not checked" for path in editor.unseen),
    )


def _is_configured_elsewhere(plan: RestorePlan) -> bool:
    """Whether PostgreSQL may be started with another main file than that in the data directory: we do not see it."""
    used, pgdata = plan.record.config_file, plan.record.pgdata
    is_other = bool(used and pgdata) and os.path.normpath(str(used)) != os.path.normpath(f"{pgdata}/{MAIN}")
    return is_other or not (plan.destination / MAIN).exists()


def _archiving_off(plan: RestorePlan) -> tuple[str, ...]:
    lines = ["archive_command = 'false'"]
    if supports(plan.record.version or 0, Feature.ARCHIVE_LIBRARY):
        lines.append("archive_library = ''")
    return ("# Configuration outside the data directory must not make this cluster archive its WAL", *lines)


def _write_recovery(editor: _Editor, plan: RestorePlan) -> None:
    recovery: Recovery = plan.recovery
    if recovery.lines:
        editor.append(recovery.file, recovery.lines)
    if recovery.signal is not None:
        write_durably(plan.destination / recovery.signal, b"", mode=_FILE_MODE)


class _Editor:
    """Edits configuration files in memory, following their includes, and writes those that changed."""

    def __init__(self, plan: RestorePlan) -> None:
        self._root = plan.destination
        self._is_standby = plan.is_standby
        self._replaces = plan.recovery.names
        self._texts: dict[Path, str] = {}
        self._read: set[Path] = set()
        self.changes: list[FileFinding] = []
        self.warnings: list[FileFinding] = []
        self.unseen: list[str] = []

    def edit(self, name: str) -> None:
        """Make a file safe, and all it includes; one that is missing or was seen already is passed over."""
        self._edit(self._root / name)

    def append(self, name: str, lines: tuple[str, ...]) -> None:
        """Add lines at the end of a file, which is made if it is missing."""
        path = self._root / name
        text = self._texts.get(path)
        if text is None:
            text = _read(path) if path.exists() else ""
        if text and not text.endswith("\n"):
            text += "\n"
        self._texts[path] = text + ("\n" if text else "") + "".join(f"{line}\n" for line in lines)

    def save(self) -> None:
        """Write what changed, each file atomically, after a copy of what it was."""
        for path, text in self._texts.items():
            mode = _FILE_MODE
            if path.exists():
                mode = stat.S_IMODE(path.stat().st_mode)
                write_durably(path.with_name(path.name + ".origin"), path.read_bytes(), mode=mode)
            write_durably(path, text.encode("utf-8", "surrogateescape"), mode=mode)

    def _edit(self, path: Path) -> None:
        if path in self._read or not path.is_file():
            return
        self._read.add(path)
        mangled = mangle(_read(path), is_standby=self._is_standby, replaces=self._replaces)
        if mangled.changes:
            self._texts[path] = mangled.text
        name = str(path.relative_to(self._root))
        self.changes += _in_file(name, mangled.changes)
        self.warnings += _in_file(name, mangled.warnings)
        for include in mangled.includes:
            for included in self._resolve(path, include):
                self._edit(included)

    def _resolve(self, path: Path, include: Include) -> list[Path]:
        target = Path(os.path.normpath(path.parent / include.path))
        if self._root not in target.parents or not Path(os.path.realpath(target)).is_relative_to(
            os.path.realpath(self._root)
        ):
            self.unseen.append(str(target))
            return []
        if include.keyword != "include_dir":
            return [target]
        return sorted(entry for entry in target.glob("*.conf") if not entry.name.startswith("."))


def _in_file(name: str, findings: tuple[Finding, ...]) -> Iterator[FileFinding]:
    return (FileFinding(name, *finding) for finding in findings)


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape")
