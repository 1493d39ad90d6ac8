"""One configured server: its settings, its paths, and its collaborators, opened when somebody asks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from barman.config.refusals import unknown_server
from barman.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from barman.catalog.backups import BackupCatalog
    from barman.catalog.layout import ServerPaths
    from barman.catalog.wal_archive import WalArchive
    from barman.catalog.xlogdb import XlogDb
    from barman.config.load import Config, ServerConfig
    from barman.config.settings import GlobalSettings, ServerSettings
    from barman.host.hooks import Event, Hooks
    from barman.host.locks import Locks
    from barman.host.ssh import Logins
    from barman.postgres.backup_session import BackupSession
    from barman.postgres.connection import Postgres, PostgresStreaming
    from barman.storage.compress.codecs import CustomFilters
    from barman.storage.encrypt.gpg import Decryption
    from barman.storage.storage import Storage

_CONNECT_TIMEOUT_S: Final = 10


class Server:
    """The pieces of one server, wired together. No behaviour of its own; cheap to make, opens nothing by itself."""

    def __init__(self, config: ServerConfig, global_settings: GlobalSettings, config_path: Path) -> None:
        """config_path: the main configuration file, for children and remote calls."""
        self.config = config
        self.name: str = config.name
        self.settings: ServerSettings = config.settings
        self.globals = global_settings
        self.config_path = config_path

    def __repr__(self) -> str:
        return f"Server({self.name!r})"

    @cached_property
    def paths(self) -> ServerPaths:
        """Where everything of this server lies."""
        from barman.catalog.layout import server_paths

        return server_paths(self.settings, self.name)

    @cached_property
    def locks(self) -> Locks:
        """The server's lock files."""
        from barman.host.locks import Locks

        return Locks(self.globals.barman_lock_directory, self.name)

    @cached_property
    def backups(self) -> BackupCatalog:
        """The records of its backups."""
        from barman.catalog.backups import BackupCatalog
        from barman.storage.local import LocalStorage

        return BackupCatalog(LocalStorage(self.paths.meta), self.paths)

    @cached_property
    def xlogdb(self) -> XlogDb:
        """The ledger of archived WAL."""
        from barman.catalog.wal_archive import scan_archive
        from barman.catalog.xlogdb import XlogDb

        return XlogDb(self.paths.xlogdb, self.locks.xlogdb, lambda: scan_archive(self._wal_storage, self._identify_wal))

    @cached_property
    def wal_archive(self) -> WalArchive:
        """The archived WAL files, with their ledger."""
        from barman.catalog.wal_archive import WalArchive
        from barman.storage.compress.decoded import open_decoded

        return WalArchive(
            self._wal_storage,
            self.xlogdb,
            open_decoded=lambda file: open_decoded(file, custom=self.custom_filters, decryption=self.decryption),
            identify=self._identify_wal,
            directory=self.paths.wals,
        )

    @cached_property
    def custom_filters(self) -> CustomFilters | None:
        """The commands that compress and decompress WAL; None unless compression is custom."""
        from barman.storage.compress.codecs import CustomFilters

        settings = self.settings
        if settings.compression != "custom":
            return None
        magic = settings.custom_compression_magic
        return CustomFilters(
            compress=settings.custom_compression_filter,
            decompress=settings.custom_decompression_filter,
            magic=None if magic is None else bytes.fromhex(magic.removeprefix("0x")),
        )

    @cached_property
    def decryption(self) -> Decryption | None:
        """What decrypts backups and WAL; None without a command that tells the passphrase."""
        from barman.storage.encrypt.gpg import Decryption

        command = self.settings.encryption_passphrase_command
        return None if command is None else Decryption(command)

    def postgres(self, *, connect_timeout_s: int = _CONNECT_TIMEOUT_S) -> Postgres:
        """A new connection object for conninfo. ConfigError without one."""
        return self._normal("conninfo", self.settings.conninfo, connect_timeout_s)

    def backup_session(self) -> BackupSession:
        """A new connection object for a low-level backup by conninfo. ConfigError without one."""
        from barman.postgres.backup_session import BackupSession

        return BackupSession(self._required("conninfo", self.settings.conninfo))

    def primary_postgres(self, *, connect_timeout_s: int = _CONNECT_TIMEOUT_S) -> Postgres | None:
        """A new connection object for primary_conninfo (backup from a standby), if there is one."""
        conninfo = self.settings.primary_conninfo
        return None if conninfo is None else self._normal("primary_conninfo", conninfo, connect_timeout_s)

    def wal_postgres(self, *, connect_timeout_s: int = _CONNECT_TIMEOUT_S) -> Postgres:
        """A new connection object for monitoring where WAL comes from."""
        return self._normal("wal_conninfo", self.settings.effective_wal_conninfo, connect_timeout_s)

    def streaming(self, *, connect_timeout_s: int = _CONNECT_TIMEOUT_S) -> PostgresStreaming:
        """A new replication connection object for backups."""
        conninfo = self.settings.effective_streaming_conninfo
        return self._streaming("streaming_conninfo", conninfo, connect_timeout_s)

    def wal_streaming(self, *, connect_timeout_s: int = _CONNECT_TIMEOUT_S) -> PostgresStreaming:
        """A new replication connection object for WAL."""
        conninfo = self.settings.effective_wal_streaming_conninfo
        return self._streaming("wal_streaming_conninfo", conninfo, connect_timeout_s)

    def source_logins(self, settings: ServerSettings) -> Logins | None:
        """New logins, not begun, on the host whose files are copied; None if that is this one, or nobody can tell.

        settings: this server's, or what replaces them for one backup.
        """
        if settings.backup_method != "rsync" or settings.ssh_command is None:
            return None
        try:
            return self._logins(settings.ssh_command, settings)
        except ConfigError:
            return None

    def primary_logins(self) -> Logins:
        """New logins, not begun, on the host of the primary; ConfigError if the server is not passive."""
        command = self.settings.primary_ssh_command
        if command is None:
            raise ConfigError(f"server {self.name} is not passive: it has no primary_ssh_command")
        return self._logins(command, self.settings)

    def _logins(self, command: str, settings: ServerSettings) -> Logins:
        from barman.host.ssh import Logins, parse_ssh_command

        return Logins(
            parse_ssh_command(command),
            env=self.environment(),
            batch=max(1, settings.parallel_jobs_start_batch_size),
            period_s=settings.parallel_jobs_start_batch_period,
        )

    def hooks(self, event: Event) -> Hooks:
        """The hook scripts configured for event."""
        from barman.host.hooks import Hooks, Scripts

        names = (f"pre_{event.value}_script", f"pre_{event.value}_retry_script",
                 f"post_{event.value}_retry_script", f"post_{event.value}_script")  # fmt: skip
        scripts = Scripts(*(getattr(self.settings, name) for name in names))
        return Hooks(
            event,
            scripts,
            server=self.name,
            config_path=self.config_path,
            path_prefix=self.settings.path_prefix,
            timeout_s=self.settings.hook_timeout or None,
        )

    def environment(self) -> Mapping[str, str]:
        """The environment for programs run for this server: path_prefix comes first in PATH."""
        from barman.host.runner import environment

        return environment(self.settings.path_prefix)

    @cached_property
    def _wal_storage(self) -> Storage:
        from barman.storage.local import LocalStorage

        return LocalStorage(self.paths.wals)

    def _identify_wal(self, first_bytes: bytes) -> str | None:
        from barman.storage.compress.codecs import identify

        return identify(first_bytes, custom=self.custom_filters)

    def _normal(self, option: str, conninfo: str | None, connect_timeout_s: int) -> Postgres:
        from barman.postgres.connection import Postgres

        return Postgres(self._required(option, conninfo), connect_timeout_s=connect_timeout_s)

    def _streaming(self, option: str, conninfo: str | None, connect_timeout_s: int) -> PostgresStreaming:
        from barman.postgres.connection import PostgresStreaming

        return PostgresStreaming(self._required(option, conninfo), connect_timeout_s=connect_timeout_s)

    def _required(self, option: str, conninfo: str | None) -> str:
        if conninfo is None:
            raise ConfigError(f"server '{self.name}' has no {option}")
        return conninfo


def open_server(config: Config, name: str) -> Server:
    """The server of that name; whether it is usable (active, disabled, passive) is for the caller. UnknownServer."""
    found = config.servers.get(name)
    if found is None:
        raise unknown_server(name, config.servers)
    return Server(found, config.globals, config.path)
