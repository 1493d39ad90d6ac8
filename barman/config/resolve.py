"""From texts to values: precedence, defaults, models. Hot-safe, no I/O.

Effective value of a server option: active model, server section, [barman] (scope G only), built-in default. A value
its parser refuses is reported and the next source applies.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from barman.config.options import GLOBAL_OPTIONS, MODEL_OPTIONS, SERVER_OPTIONS
from barman.config.sources import GLOBAL_SECTION, Problem
from barman.config.values import Empty, is_unset, is_url

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from barman.config.option import Option
    from barman.config.sources import Setting, Sources
    from barman.config.values import Value

DEFAULT_ORIGIN = "default"

DERIVED = {
    "basebackups_directory": "base",
    "wals_directory": "wals",
    "incoming_wals_directory": "incoming",
    "streaming_wals_directory": "streaming",
    "errors_directory": "errors",
}
"""Directories below backup_directory, where nothing else is configured."""

PATH_OPTIONS = ("backup_directory", *DERIVED)
"""The directories no two servers may share."""


class Resolved(NamedTuple):
    """The values of a section. origins: the file that provides each, or "default". problems: refused values."""

    values: dict[str, Value]
    origins: dict[str, str]
    problems: tuple[Problem, ...]


class _Missing:
    """Stands for "this source says nothing"."""


_MISSING = _Missing()


def resolve_globals(settings: Mapping[str, Setting]) -> Resolved:
    """Return the [barman] options; barman_home must be among the settings."""
    problems: list[Problem] = []
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    for option in GLOBAL_OPTIONS.values():
        _resolve_option(option, ((GLOBAL_SECTION, settings),), values, origins, problems)
    home = str(values["barman_home"])
    values["barman_lock_directory"] = values["barman_lock_directory"] or home
    values["config_changes_queue"] = values["config_changes_queue"] or os.path.join(home, "cfg_changes.queue")
    return Resolved(values, origins, tuple(problems))


def resolve_server(
    sources: Sources, name: str, *, model: str | None = None, only: Collection[str] | None = None
) -> Resolved:
    """Return the options of a server with the model applied.

    model: name of a known model, or None. only: the options wanted (with backup_directory and what they derive
    from), where not all are; hot programs save time with it.
    """
    problems: list[Problem] = []
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    model_settings = sources.models[model] if model is not None else {}
    for option in SERVER_OPTIONS.values():
        if only is not None and option.name not in only:
            continue
        chain: list[tuple[str, Mapping[str, Setting]]] = []
        if model is not None and "M" in option.scopes and option.name != "cluster":
            chain.append((model, _overriding(model_settings)))
        if "S" in option.scopes:
            chain.append((name, sources.servers[name]))
        if "G" in option.scopes:
            chain.append((GLOBAL_SECTION, sources.globals))
        _resolve_option(option, chain, values, origins, problems)
    _derive(values, name, sources.globals["barman_home"].text)
    return Resolved(values, origins, tuple(problems))


def resolve_model(sources: Sources, name: str) -> Resolved:
    """Return every option models may have; None for those this one leaves alone."""
    problems: list[Problem] = []
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    for option in MODEL_OPTIONS.values():
        unset = option._replace(default=None)
        _resolve_option(unset, ((name, _overriding(sources.models[name])),), values, origins, problems)
    return Resolved(values, origins, tuple(problems))


def unknown_options(sources: Sources) -> list[Problem]:
    """Return a problem for every option that means nothing in its section."""
    known_globals = GLOBAL_OPTIONS.keys() | SERVER_OPTIONS.keys()
    found = _unknown(GLOBAL_SECTION, sources.globals, known_globals)
    for name, settings in sources.servers.items():
        found += _unknown(name, settings, SERVER_OPTIONS.keys())
    for name, settings in sources.models.items():
        found += _unknown(name, settings, MODEL_OPTIONS.keys() | {"model"})
    return found


def parse_value(option: Option, text: str) -> Value:
    """Return the value of a text that config-update or a file gives to option; ValueError with the reason.

    An empty text gives None where the kind allows it.
    """
    if is_unset(text):
        if option.kind.empty is Empty.INVALID:
            raise ValueError("must not be empty")
        return None
    return option.kind.parse(text)


def _unknown(section: str, settings: Mapping[str, Setting], known: Collection[str]) -> list[Problem]:
    return [
        Problem(setting.file, setting.line, section, name, f"unknown option {name} in section [{section}], ignored")
        for name, setting in settings.items()
        if name not in known
    ]


def _overriding(settings: Mapping[str, Setting]) -> Mapping[str, Setting]:
    """An empty option of a model overrides nothing."""
    return {name: setting for name, setting in settings.items() if not is_unset(setting.text)}


def _resolve_option(
    option: Option,
    chain: Collection[tuple[str, Mapping[str, Setting]]],
    values: dict[str, Value],
    origins: dict[str, str],
    problems: list[Problem],
) -> None:
    for section, settings in chain:
        setting = settings.get(option.name)
        if setting is None:
            continue
        value = _value_of(option, section, setting, problems)
        if value is not _MISSING:
            values[option.name] = value  # type: ignore[assignment]
            origins[option.name] = setting.file
            return
    values[option.name] = option.default
    origins[option.name] = DEFAULT_ORIGIN


def _value_of(option: Option, section: str, setting: Setting, problems: list[Problem]) -> Value | _Missing:
    if is_unset(setting.text) and option.kind.empty is not Empty.INVALID:
        return option.default if option.kind.empty is Empty.BLOCKS else _MISSING
    try:
        return parse_value(option, setting.text)
    except ValueError as error:
        problems.append(
            Problem(
                setting.file,
                setting.line,
                section,
                option.name,
                f"invalid value {setting.text!r} for option {option.name} in section [{section}], ignored: {error}",
                bad_value=True,
            )
        )
        return _MISSING


def _derive(values: dict[str, Value], name: str, home: str) -> None:
    root = str(values.get("backup_directory") or os.path.join(home, name))
    values["backup_directory"] = root
    for option, directory in DERIVED.items():
        if option in values:
            values[option] = values[option] or os.path.join(root, directory)
    if "xlogdb_directory" in values and values["xlogdb_directory"] is None:
        wals = str(values["wals_directory"])
        values["xlogdb_directory"] = os.path.join(root, "meta") if is_url(wals) else wals
    if "cluster" in values:
        values["cluster"] = values["cluster"] or name
    options = values.get("backup_options")
    if isinstance(options, frozenset) and "exclusive_backup" not in options:
        values["backup_options"] = options | {"concurrent_backup"}
