"""Where the files of one server live on the Barman host. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.config.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class ServerPaths:
    """The directories and single files of one server. All but root can be configured away from their defaults."""

    root: Path
    base: Path
    wals: Path
    incoming: Path
    streaming: Path
    errors: Path
    xlogdb: Path

    @property
    def meta(self) -> Path:
        """Records, annotations and marks; always below root."""
        return self.root / "meta"

    @property
    def identity(self) -> Path:
        """The system identifier of the instance."""
        return self.root / "identity.json"

    @property
    def primary_info(self) -> Path:
        """Passive node: what the primary said last."""
        return self.root / "primary.info"

    @property
    def sync_wals_info(self) -> Path:
        """Passive node: up to where the ledger of the primary has been copied."""
        return self.wals / "sync-wals.info"

    @property
    def directories(self) -> tuple[Path, ...]:
        """Every directory a working server needs, parents first."""
        return (
            self.root,
            self.base,
            self.wals,
            self.incoming,
            self.streaming,
            self.errors,
            self.meta,
            self.xlogdb.parent,
        )

    def backup_dir(self, backup_id: str) -> Path:
        """Everything copied for one backup."""
        return self.base / backup_id

    def data_dir(self, backup_id: str) -> Path:
        """The copy of the data directory, or the tarballs."""
        return self.base / backup_id / "data"

    def tablespace_dir(self, backup_id: str, oid: int) -> Path:
        """The copy of one tablespace (empty for tarball backups)."""
        return self.base / backup_id / str(oid)

    def record_file(self, backup_id: str) -> Path:
        """The backup.info of one backup."""
        return self.meta / f"{backup_id}-backup.info"

    def legacy_record_file(self, backup_id: str) -> Path:
        """The backup.info of one backup before 3.13.2."""
        return self.base / backup_id / "backup.info"

    def legacy_annotation(self, backup_id: str, key: str) -> Path:
        """An annotation of one backup before 3.13.3."""
        return self.base / backup_id / "annotations" / key


def server_paths(settings: ServerSettings, name: str) -> ServerPaths:
    """Return the paths of server name. Source: catalog layout of Barman 3.19.

    A directory configured as the URL of an object store is represented by its default place below root.
    """
    root = settings.backup_directory
    return ServerPaths(
        root=root,
        base=_local(settings.basebackups_directory, root / "base"),
        wals=_local(settings.wals_directory, root / "wals"),
        incoming=settings.incoming_wals_directory,
        streaming=settings.streaming_wals_directory,
        errors=settings.errors_directory,
        xlogdb=settings.xlogdb_directory / f"{name}-xlog.db",
    )


def _local(directory: Path | str, default: Path) -> Path:
    return directory if isinstance(directory, Path) else default
