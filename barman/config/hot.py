"""What put-wal and get-wal need to know of the configuration, with the same rules as everybody and less to import."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from barman.config.active_model import resolve_active_server
from barman.config.conflicts import find_conflicts
from barman.config.options import SERVER_OPTIONS
from barman.config.refusals import colliding_directories, disabled_server, unknown_server
from barman.config.resolve import PATH_OPTIONS, resolve_globals, resolve_server
from barman.config.shared_paths import find_shared_paths
from barman.config.sources import find_config_file, read_globals, read_sources
from barman.config.values import INTERVAL
from barman.errors import ConfigError
from barman.host.user import become_user

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.config.settings import ServerSettings
    from barman.config.sources import Sources
    from barman.storage.compress.codecs import CustomFilters
    from barman.storage.encrypt.gpg import Decryption

# Intervals would load datetime, and no rule looks at them.
_WANTED = frozenset(name for name, option in SERVER_OPTIONS.items() if option.kind is not INTERVAL)


class HotServer(NamedTuple):
    """The few settings of one server that hot programs use; directories as text, as they may be URLs.

    log_file, log_format: of the whole installation; without a file there is no log.
    """

    name: str
    backup_directory: str
    incoming_wals_directory: str
    streaming_wals_directory: str
    wals_directory: str
    errors_directory: str
    compression: str | None
    custom_decompression_filter: str | None
    custom_compression_magic: str | None
    encryption_passphrase_command: str | None
    log_file: str | None
    log_format: str

    def custom_filters(self) -> CustomFilters | None:
        """Return how files of a custom compression are recognised and decompressed; None if there are none."""
        from barman.storage.compress.codecs import CustomFilters

        if self.compression != "custom" and self.custom_compression_magic is None:
            return None
        magic = bytes.fromhex(self.custom_compression_magic[2:]) if self.custom_compression_magic else None
        return CustomFilters(None, self.custom_decompression_filter, magic)

    def decryption(self) -> Decryption | None:
        """Return what decrypts WAL; None without a command that tells the passphrase."""
        from barman.storage.encrypt.gpg import Decryption

        command = self.encryption_passphrase_command
        return None if command is None else Decryption(command)


def open_hot_server(explicit: str | None, environ: Mapping[str, str], name: str, *, receives: bool) -> HotServer:
    """Read the configuration, become barman_user, and return the server called name.

    explicit: the file given with -c. receives: whether it is to archive what it gets, which inactive and passive
    servers do not. ConfigError if the configuration or this server's part of it cannot be used, UnknownServer if there
    is none of this name.
    """
    path = find_config_file(explicit, environ)
    installation = resolve_globals(read_globals(path)).values
    become_user(str(installation["barman_user"]))
    sources = read_sources(path)
    conflicts = find_shared_paths({server: _directories(sources, server) for server in sources.servers})
    if conflicts.between:
        raise colliding_directories(conflicts.between)
    if name not in sources.servers:
        raise unknown_server(name, sources.servers)
    active = resolve_active_server(sources, name, only=_WANTED)
    settings = cast("ServerSettings", SimpleNamespace(**active.resolved.values))
    if receives and not settings.active:
        raise ConfigError(f"server '{name}' is inactive")
    if receives and settings.primary_ssh_command is not None:
        raise ConfigError(
            f"server '{name}' is passive here: nobody would archive WAL that is put into it",
            hint="Have PostgreSQL archive to the primary; or remove primary_ssh_command, if this host takes its place.",
        )
    errors = (*active.errors, *find_conflicts(settings), *conflicts.within.get(name, ()))
    if errors:
        raise disabled_server(name, errors)
    values: dict[str, Any] = {**installation, **active.resolved.values, "name": name}
    return HotServer(**{field: values[field] for field in HotServer._fields})


def _directories(sources: Sources, name: str) -> dict[str, str]:
    values = resolve_server(sources, name, only=PATH_OPTIONS).values
    return {option: str(values[option]) for option in PATH_OPTIONS}
