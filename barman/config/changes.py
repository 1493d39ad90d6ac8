"""config-update: changes are checked as a whole, queued, and then made in the files, one set after the other.

A crash at any moment leaves whole files and a queue that says what remains to be done; doing a set twice does no harm.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from barman.config.edit import set_option
from barman.config.ini import DEFAULT_SECTION, expand, parse_ini
from barman.config.options import MODEL_OPTIONS, SERVER_OPTIONS
from barman.config.resolve import parse_value
from barman.config.sources import GLOBAL_SECTION, RESERVED_NAMES, read_sources
from barman.config.values import parse_bool
from barman.errors import BarmanError, ConfigError
from barman.host.files import write_durably
from barman.host.locks import config_update_lock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barman.config.settings import GlobalSettings
    from barman.config.sources import Setting, Sources
    from barman.progress import Reporter

_NAME_KEYS = {"server": "server_name", "model": "model_name"}


@dataclass(frozen=True, slots=True)
class Change:
    """One option to be set. config_file: where."""

    key: str
    value: str
    config_file: str


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """The changes of one section, in the shape of the queue file."""

    section: str
    changes_set: tuple[Change, ...]


def update_configuration(text: str, path: Path, settings: GlobalSettings, reporter: Reporter) -> tuple[str, ...]:
    """Check the changes in a JSON text, queue them and apply the queue; return the sections that were changed.

    path: main configuration file. ConfigError, with every rejection, if one of them cannot be accepted: none is
    queued then. LockBusy if somebody else is changing the configuration.
    """
    with config_update_lock(settings.barman_lock_directory):
        changes = parse_changes(text, read_sources(str(path)))
        if changes:
            _write_queue(settings.config_changes_queue, [*_read_queue(settings, reporter), *changes])
        return _drain(path, settings, reporter)


def apply_queued_changes(path: Path, settings: GlobalSettings, reporter: Reporter) -> tuple[str, ...]:
    """Apply what an interrupted config-update left in the queue; return the sections that were changed.

    Costs a stat where nothing is queued. Sets that fail are reported and stay queued. LockBusy.
    """
    if not _has_queue(settings.config_changes_queue):
        return ()
    with config_update_lock(settings.barman_lock_directory):
        return _drain(path, settings, reporter)


def parse_changes(text: str, sources: Sources) -> list[ChangeSet]:
    """Return the changes in a JSON array of objects; ConfigError lists everything that is wrong with them.

    Each object has a scope (server or model), server_name or model_name, and options, all of them text.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"not a JSON text: {error}") from error
    if not isinstance(document, list):
        raise ConfigError("the changes must be a JSON array of objects")
    problems: list[str] = []
    changes = [_parse_change_set(item, sources, problems) for item in document]
    if problems:
        raise ConfigError("the changes were rejected", problems=problems, hint="Nothing was changed.")
    return [change for change in changes if change is not None]


def _parse_change_set(item: object, sources: Sources, problems: list[str]) -> ChangeSet | None:
    if not isinstance(item, dict) or not all(isinstance(value, str) for value in item.values()):
        problems.append(f"not an object whose values are all text: {json.dumps(item)}")
        return None
    values: dict[str, str] = {key.lower(): value for key, value in item.items()}
    scope = values.pop("scope", None)
    if scope not in _NAME_KEYS:
        problems.append(f"scope must be 'server' or 'model', not {scope!r}: {json.dumps(item)}")
        return None
    name = values.pop(_NAME_KEYS[scope], None)
    if not name:
        problems.append(f"{_NAME_KEYS[scope]} is missing: {json.dumps(item)}")
        return None
    found = list(_section_problems(scope, name, values, sources))
    if scope == "model" and name not in sources.models:
        values.setdefault("model", "on")
    present = _sections(scope, sources).get(name, {})
    changes = tuple(Change(key, value, _target(key, present, sources)) for key, value in values.items())
    for change in changes:
        problem = _option_problem(scope, name, change)
        found += [problem] if problem else []
    problems += found
    return None if found else ChangeSet(name, changes)


def _section_problems(scope: str, name: str, values: Mapping[str, str], sources: Sources) -> Sequence[str]:
    other = sources.models if scope == "server" else sources.servers
    if name in other:
        return [f"'{name}' is a {'model' if scope == 'server' else 'server'}, not a {scope}"]
    if name in _sections(scope, sources):
        return []
    found = []
    reserved = {*RESERVED_NAMES, GLOBAL_SECTION, DEFAULT_SECTION}
    if name in reserved or set(name) & set("[]/\n\r") or name != name.strip():
        found.append(f"'{name}' cannot be the name of a new {scope}")
    if scope == "model" and not values.get("cluster"):
        found.append(f"option cluster is missing for the new model '{name}'")
    return found


def _option_problem(scope: str, name: str, change: Change) -> str | None:
    options = {key: option for key, option in SERVER_OPTIONS.items() if "S" in option.scopes}
    known = options if scope == "server" else MODEL_OPTIONS
    where = f"option {change.key} of {scope} '{name}'"
    try:
        if "\n" in change.value or "\r" in change.value:
            raise ValueError("must be one line")
        value = expand(change.value, parse_ini(_read_text(Path(change.config_file)), "").options(name))
        if scope == "model" and change.key == "model":
            parse_bool(value)
        elif change.key not in known:
            return f"there is no {where}"
        else:
            parse_value(known[change.key], value)
    except ValueError as error:
        return f"invalid value {change.value!r} for {where}: {error}"
    return None


def _sections(scope: str, sources: Sources) -> Mapping[str, Mapping[str, Setting]]:
    return sources.servers if scope == "server" else sources.models


def _target(key: str, present: Mapping[str, Setting], sources: Sources) -> str:
    """Return the file to write to: the one that provides the option now, if it can be replaced.

    The automatic file, read last, overrides all others, so it will always do.
    """
    setting = present.get(key) or sources.globals.get(key)
    if setting is None:
        return sources.auto_file
    real = os.path.realpath(setting.file)
    can_replace = os.access(real, os.W_OK) and os.access(os.path.dirname(real), os.W_OK)
    return os.path.abspath(setting.file) if can_replace else sources.auto_file


def _drain(path: Path, settings: GlobalSettings, reporter: Reporter) -> tuple[str, ...]:
    """Apply the queue, oldest set first. A set that fails stays, and does not hold up the others."""
    queue = _read_queue(settings, reporter)
    changed: list[str] = []
    failed: list[ChangeSet] = []
    while queue:
        change_set = queue.pop(0)
        try:
            _apply(change_set, read_sources(str(path)), reporter)
            changed.append(change_set.section)
        except (BarmanError, OSError) as error:
            reporter.error(f"cannot change section [{change_set.section}]: {error}")
            failed.append(change_set)
        else:
            _write_queue(settings.config_changes_queue, [*failed, *queue])
    return tuple(dict.fromkeys(changed))


def _apply(change_set: ChangeSet, sources: Sources, reporter: Reporter) -> None:
    section = change_set.section
    present = {**sources.servers, **sources.models}.get(section, {})
    files = {change: _existing(change.config_file, sources) for change in change_set.changes_set}
    for file in dict.fromkeys(files.values()):
        text = _read_text(file)
        for change in change_set.changes_set:
            if files[change] == file:
                text = set_option(text, section, change.key, change.value)
        mode = None if file.exists() else 0o600  # it may hold passwords
        write_durably(file, text.encode(), mode=mode)
    for change in change_set.changes_set:
        setting = present.get(change.key) or sources.globals.get(change.key)
        reporter.info(
            f"Changing value of option '{change.key}' for section '{section}'"
            f" from '{setting.text if setting else None}' to '{change.value}' through config-update."
        )


def _existing(file: str, sources: Sources) -> Path:
    """Return the real file; the automatic one for a file that has gone."""
    real = Path(os.path.realpath(file))
    return real if real.exists() else Path(os.path.realpath(sources.auto_file))


def _read_text(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error


def _has_queue(queue: Path) -> bool:
    try:
        return queue.stat().st_size > len("[]")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"cannot read {queue}: {error.strerror}") from error


def _read_queue(settings: GlobalSettings, reporter: Reporter) -> list[ChangeSet]:
    """Return the queue; what cannot be understood is reported and dropped."""
    queue = settings.config_changes_queue
    try:
        items = json.loads(queue.read_bytes())
        return [
            ChangeSet(item["section"], tuple(_read_change(change) for change in item["changes_set"])) for item in items
        ]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        reporter.warning(f"malformed queue of configuration changes {queue}, taken for empty: {error!r}")
        return []


def _read_change(item: Mapping[str, object]) -> Change:
    values = [item["key"], item["value"], item["config_file"]]
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"not text: {values}")
    return Change(*map(str, values))


def _write_queue(queue: Path, changes: Sequence[ChangeSet]) -> None:
    write_durably(queue, json.dumps([asdict(change) for change in changes]).encode(), mode=0o600)
