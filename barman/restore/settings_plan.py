"""What becomes of the configuration files of a restored cluster, all of them together. Pure.

The files are read through a protocol, so that the same plan is made for a backup and for what was restored from it,
here or elsewhere.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from barman.postgres.versions import Feature, supports
from barman.restore.settings import mangle, parse_setting, unquote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from barman.catalog.record import BackupRecord
    from barman.restore.recovery import Recovery
    from barman.restore.settings import Include

MAIN = "postgresql.conf"
AUTO = "postgresql.auto.conf"
EXPECTED = (MAIN, AUTO, "pg_hba.conf", "pg_ident.conf")

# The catalogue of subscriptions, which is empty in a cluster that never had one. Source: pg_subscription.h.
SUBSCRIPTIONS = "global/6100"
_LIBRARIES = ("shared_preload_libraries", "session_preload_libraries", "local_preload_libraries")


class ConfigFiles(Protocol):
    """The files of a data directory; names are relative to it, with slashes.

    NotFound is raised for what nobody could look at.
    """

    def read(self, name: str) -> str | None:
        """Return the text, bytes that are none as surrogates; None unless it is a file."""

    def size(self, name: str) -> int | None:
        """Return the size in bytes; None unless it is a file."""

    def listing(self, directory: str) -> Sequence[str]:
        """Return what is in a directory; nothing if there is none."""

    def leads_out(self, name: str) -> bool:
        """Whether a link on the way leads out of the data directory."""


class FileChange(NamedTuple):
    """A setting that is put out of force. new: its replacement; None: the line becomes a comment.

    file: in the data directory; line: from 1, in the new text.
    """

    file: str
    line: int
    option: str
    old: str
    new: str | None

    @property
    def value(self) -> str:
        """What there is to see on the line."""
        return self.old if self.new is None else self.new


class FileFinding(NamedTuple):
    """A setting that stays, and is to be looked at. file: in the data directory; line: from 1, in the new text."""

    file: str
    line: int
    option: str
    value: str


@dataclass(frozen=True, slots=True)
class SettingsPlan:
    """What the files are to be. edits: new text by name; the files may not be there yet.

    missing_files: usual ones that there are not. unseen: included files outside, which are not ours to change.
    settings: what is in force in the end, by lower-case name, as far as it can be seen. libraries: that the server
    loads. notes: for people.
    """

    edits: Mapping[str, str]
    changes: tuple[FileChange, ...]
    warnings: tuple[FileFinding, ...]
    missing_files: tuple[str, ...]
    unseen: tuple[str, ...]
    settings: Mapping[str, str]
    libraries: tuple[str, ...]
    notes: tuple[str, ...]


def plan_settings(
    files: ConfigFiles, *, destination: str, record: BackupRecord, recovery: Recovery, is_standby: bool
) -> SettingsPlan:
    """Return what puts everything out of force that must not act in the restored cluster, and makes it recover.

    destination: the new data directory, absolute. Files that are included from outside of it cannot be changed;
    archiving is then switched off in postgresql.auto.conf, which comes after them. So is logical replication to a
    cluster that has subscriptions, unless it is to be a standby: it would take the changes meant for its origin.
    """
    editor = _Editor(files, destination, is_standby=is_standby, replaces=recovery.names)
    editor.edit(MAIN)
    editor.edit(AUTO)
    editor.edit(recovery.file)
    notes = [f"{path} lies outside the data directory and was not checked" for path in editor.unseen]
    if editor.unseen or _is_configured_elsewhere(files, record):
        editor.append(AUTO, _archiving_off(record.version or 0))
    if not is_standby and supports(record.version or 0, Feature.WAL_WORDING) and files.size(SUBSCRIPTIONS):
        editor.append(AUTO, _REPLICATION_OFF)
        notes.append(
            "the cluster has, or had, subscriptions: they are switched off by max_logical_replication_workers = 0 in "
            f"{AUTO}"
        )
    if recovery.lines:
        editor.append(recovery.file, recovery.lines)
    return SettingsPlan(
        edits=editor.edits,
        changes=tuple(editor.changes),
        warnings=tuple(editor.warnings),
        missing_files=tuple(name for name in EXPECTED if files.size(name) is None and name not in editor.edits),
        unseen=tuple(editor.unseen),
        settings=editor.settings,
        libraries=tuple(_libraries(editor.settings)),
        notes=tuple(notes),
    )


_REPLICATION_OFF = (
    "# A restored cluster must not take the changes that its origin is subscribed to",
    "max_logical_replication_workers = 0",
)


def _is_configured_elsewhere(files: ConfigFiles, record: BackupRecord) -> bool:
    """Whether PostgreSQL may be started with another main file than that in the data directory: we do not see it."""
    used, pgdata = record.config_file, record.pgdata
    is_other = bool(used and pgdata) and posixpath.normpath(str(used)) != posixpath.normpath(f"{pgdata}/{MAIN}")
    return is_other or files.size(MAIN) is None


def _archiving_off(version: int) -> tuple[str, ...]:
    lines = ["archive_command = 'false'"]
    if supports(version, Feature.ARCHIVE_LIBRARY):
        lines.append("archive_library = ''")
    return ("# Configuration outside the data directory must not make this cluster archive its WAL", *lines)


def _libraries(settings: Mapping[str, str]) -> Iterator[str]:
    for name in _LIBRARIES:
        for library in settings.get(name, "").split(","):
            if library.strip(" \"'"):
                yield library.strip(" \"'")


class _Editor:
    """Edits configuration files in memory, following their includes."""

    def __init__(self, files: ConfigFiles, destination: str, *, is_standby: bool, replaces: frozenset[str]) -> None:
        self._files = files
        self._destination = destination
        self._is_standby = is_standby
        self._replaces = replaces
        self._read: set[str] = set()
        self.edits: dict[str, str] = {}
        self.changes: list[FileChange] = []
        self.warnings: list[FileFinding] = []
        self.unseen: list[str] = []
        self.settings: dict[str, str] = {}

    def edit(self, name: str) -> None:
        """Make a file safe, and all it includes; one that is missing or was seen already is passed over."""
        text = None if name in self._read else self._files.read(name)
        if text is None:
            return
        self._read.add(name)
        mangled = mangle(text, is_standby=self._is_standby, replaces=self._replaces)
        if mangled.changes:
            self.edits[name] = mangled.text
        self.changes += [FileChange(name, *change) for change in mangled.changes]
        self.warnings += [FileFinding(name, *finding) for finding in mangled.warnings]
        self._note_settings(mangled.text)
        for include in mangled.includes:
            for included in self._resolve(name, include):
                self.edit(included)

    def append(self, name: str, lines: Sequence[str]) -> None:
        """Add lines at the end of a file, which is made if it is missing."""
        text = self.edits.get(name)
        if text is None:
            text = self._files.read(name) or ""
        if text and not text.endswith("\n"):
            text += "\n"
        added = "".join(f"{line}\n" for line in lines)
        self.edits[name] = text + ("\n" if text else "") + added
        self._note_settings(added)

    def _note_settings(self, text: str) -> None:
        for line in text.split("\n"):
            option, value = parse_setting(line)
            if option:
                self.settings[option] = unquote(value)

    def _resolve(self, name: str, include: Include) -> Sequence[str]:
        origin = posixpath.join(self._destination, posixpath.dirname(name))
        path = posixpath.normpath(posixpath.join(origin, include.path))
        target = path.removeprefix(self._destination + "/")
        if target == path or self._files.leads_out(target):
            self.unseen.append(path)
            return []
        if include.keyword != "include_dir":
            return [target]
        names = [entry for entry in self._files.listing(target) if entry.endswith(".conf") and entry[0] != "."]
        return [f"{target}/{entry}" for entry in sorted(names)]
