"""Loading the configuration: every problem at once, each with its file and line."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from barman.config.active_model import resolve_active_server
from barman.config.conflicts import find_conflicts
from barman.config.resolve import (
    PATH_OPTIONS,
    resolve_globals,
    resolve_model,
    unknown_options,
)
from barman.config.settings import (
    GlobalSettings,
    ServerSettings,
    build_global_settings,
    build_server_settings,
)
from barman.config.shared_paths import find_shared_paths
from barman.config.sources import Problem, find_config_file, read_globals, read_sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.config.sources import Sources
    from barman.config.values import Value


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One server section. errors: why it is disabled; () if it is not. problems: refused values that concern it.

    origins: option -> file that provides it, or "default". active_model: the model applied by config-switch.
    """

    name: str
    settings: ServerSettings
    errors: tuple[str, ...] = ()
    active_model: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether connections may be opened and work be done."""
        return self.settings.active

    @property
    def is_disabled(self) -> bool:
        """Whether configuration errors forbid to work with it."""
        return bool(self.errors)

    @property
    def is_passive(self) -> bool:
        """Whether it is copied from another Barman."""
        return self.settings.primary_ssh_command is not None


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model section. options: every option a model may have; None for those it leaves alone."""

    name: str
    cluster: str
    options: Mapping[str, Value]
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the files say. servers and models are sorted by name.

    problems: what to warn about on every run. path_conflicts: directories shared by servers; commands that load
    servers must refuse to run. global_options: the [barman] section as written; global_origins: where from.
    auto_file: the file config-update falls back to.
    """

    path: Path
    globals: GlobalSettings
    servers: Mapping[str, ServerConfig]
    models: Mapping[str, ModelConfig]
    problems: tuple[Problem, ...]
    path_conflicts: tuple[str, ...]
    global_options: Mapping[str, str]
    global_origins: Mapping[str, str]
    auto_file: Path


def find_config(explicit: str | None, environ: Mapping[str, str]) -> Path:
    """Return the main configuration file; ConfigError if there is none. See find_config_file for the search."""
    return Path(find_config_file(explicit, environ))


def load_globals(path: Path) -> GlobalSettings:
    """Return the [barman] options of the main file alone: all that may be read before becoming barman_user."""
    return build_global_settings(resolve_globals(read_globals(str(path))).values)


def load_config(path: Path) -> Config:
    """Read all files. ConfigError lists every problem that makes them unusable; the others are in the result."""
    sources = read_sources(str(path))
    resolved_globals = resolve_globals(sources.globals)
    models = {name: _load_model(sources, name) for name in sources.models}
    servers = {name: _load_server(sources, name) for name in sources.servers}
    shared = find_shared_paths({name: _directories(server) for name, server in servers.items()})
    servers = {
        name: replace(server, errors=(*server.errors, *shared.within.get(name, ()))) for name, server in servers.items()
    }
    problems = [*sources.problems, *unknown_options(sources), *resolved_globals.problems]
    for server in servers.values():
        problems += [*server.problems, *_remarks(server)]
    for name in sources.models:
        problems += resolve_model(sources, name).problems
    return Config(
        path=path,
        globals=build_global_settings(resolved_globals.values),
        servers={name: _amend(server) for name, server in servers.items()},
        models=models,
        problems=tuple(dict.fromkeys(problems)),
        path_conflicts=shared.between,
        global_options={name: setting.text for name, setting in sources.globals.items()},
        global_origins={name: setting.file for name, setting in sources.globals.items()},
        auto_file=Path(sources.auto_file),
    )


def with_wal_conninfo(server: ServerConfig) -> tuple[ServerConfig, list[str]]:
    """Return the server as cron and receive-wal see it: connecting to where WAL is received from.

    The second value holds one line per connection string that this changes.
    """
    settings = server.settings
    wanted = (
        ("conninfo", settings.effective_wal_conninfo, "wal_conninfo" if settings.wal_conninfo else None),
        ("streaming_conninfo", settings.effective_wal_streaming_conninfo, None),
    )
    changes = {
        option: value
        for option, value, _ in wanted
        if (settings.wal_conninfo or settings.wal_streaming_conninfo) and value != getattr(settings, option)
    }
    lines = [
        f"using {source or 'wal_streaming_conninfo'} as {option} of server {server.name}"
        for option, _, source in wanted
        if option in changes
    ]
    return replace(server, settings=replace(settings, **changes)), lines  # type: ignore[arg-type]


def _load_model(sources: Sources, name: str) -> ModelConfig:
    resolved = resolve_model(sources, name)
    section = sources.models[name]
    origins = resolved.origins | {option: section[option].file for option in ("model", "cluster")}
    return ModelConfig(name, section["cluster"].text, resolved.values, origins)


def _load_server(sources: Sources, name: str) -> ServerConfig:
    active = resolve_active_server(sources, name)
    settings = build_server_settings(active.resolved.values)
    errors = (*active.errors, *find_conflicts(settings))
    return ServerConfig(name, settings, errors, active.model, active.resolved.origins, active.resolved.problems)


def _directories(server: ServerConfig) -> dict[str, str]:
    return {option: str(getattr(server.settings, option)) for option in PATH_OPTIONS}


def _works(server: ServerConfig) -> bool:
    return server.is_active and not server.is_passive


def _needs_archiver(server: ServerConfig) -> bool:
    return _works(server) and not server.settings.archiver and not server.settings.streaming_archiver


def _needs_concurrent(server: ServerConfig) -> bool:
    return server.settings.backup_method == "postgres" and "exclusive_backup" in server.settings.backup_options


def _amend(server: ServerConfig) -> ServerConfig:
    """Put right what the remarks are about."""
    settings = server.settings
    if _needs_archiver(server):
        settings = replace(settings, archiver=True)
    if _needs_concurrent(server):
        options = settings.backup_options - {"exclusive_backup"} | {"concurrent_backup"}
        settings = replace(settings, backup_options=options)
    return replace(server, settings=settings)


def _remarks(server: ServerConfig) -> list[Problem]:
    found = []
    if _needs_archiver(server):
        text = f"server {server.name} has neither archiver nor streaming_archiver switched on, archiver is assumed"
        found.append(Problem("", 0, server.name, "archiver", text))
    if _needs_concurrent(server):
        text = f"backup_method = postgres of server {server.name} knows no exclusive_backup, concurrent_backup is used"
        found.append(Problem(server.origins["backup_options"], 0, server.name, "backup_options", text))
    return found
