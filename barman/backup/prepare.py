"""Everything that can forbid a backup, asked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.backup.executor import Job
from barman.backup.incremental import require_parent
from barman.backup.methods import executor_for
from barman.backup.request import require_usable_name
from barman.catalog import chains, selection
from barman.catalog.identity import read_identity
from barman.config.conflicts import find_cloud_conflicts, find_encryption_conflicts
from barman.errors import ConfigError, Refused
from barman.storage.encrypt.gpg import require_can_encrypt

if TYPE_CHECKING:
    from barman.backup.executor import Executor
    from barman.backup.request import BackupRequest
    from barman.catalog.record import BackupRecord
    from barman.config.settings import ServerSettings
    from barman.host.ssh import Logins
    from barman.postgres.facts import ServerFacts
    from barman.progress import Reporter
    from barman.server import Server


@dataclass(frozen=True, slots=True)
class Prepared:
    """A backup that nothing speaks against. cluster_size: bytes, None if PostgreSQL does not say."""

    job: Job
    executor: Executor
    cluster_size: int | None


def require_valid(server: Server, request: BackupRequest) -> BackupRecord | None:
    """Judge what can be judged without PostgreSQL, and return the parent of an incremental backup.

    UsageError for a name that cannot be used; UnknownBackup, Refused or CatalogError for an unfit parent or chain.
    """
    if request.name is not None:
        require_usable_name(request.name)
    if request.parent is None:
        return None
    if server.settings.backup_method != "postgres":
        raise Refused(f"incremental backups require backup_method = postgres, and server {server.name} has another")
    records = server.backups.load()
    parent = selection.resolve(records, request.parent, server=server.name)
    manifest = server.paths.data_dir(parent.backup_id) / "backup_manifest"
    require_parent(parent, has_manifest=manifest.is_file())
    chains.chain(records, parent.backup_id)
    return parent


def prepare(
    server: Server, settings: ServerSettings, request: BackupRequest, reporter: Reporter, logins: Logins | None
) -> Prepared:
    """Ask configuration, catalogue and PostgreSQL whether this backup can be taken; raises the reason it cannot.

    settings: with the request's overrides. logins: as of Job.
    """
    parent = require_valid(server, request)
    conflicts = [*find_encryption_conflicts(settings), *find_cloud_conflicts(settings)]
    if conflicts:
        raise ConfigError(f"server {server.name}: {conflicts[0]}", problems=conflicts)
    if settings.encryption != "none" and settings.encryption_key_id is not None:
        # Not only after hours of copying.
        require_can_encrypt(settings.encryption_key_id)
    with server.postgres() as postgres:
        facts = postgres.facts()
        cluster_size = postgres.cluster_size()
    _require_same_cluster(server, facts, parent)
    job = Job(server, settings, facts, reporter, parent, logins)
    executor = executor_for(job)
    executor.require_possible()
    for warning in find_warnings(server.name, settings, facts, request):
        reporter.warning(warning)
    return Prepared(job, executor, cluster_size)


def _require_same_cluster(server: Server, facts: ServerFacts, parent: BackupRecord | None) -> None:
    identity = read_identity(server.paths)
    known = identity.systemid if identity is not None else None
    if known is not None and known != facts.system_identifier:
        raise Refused(
            f"server {server.name} holds backups of the cluster with system identifier {known}, and conninfo leads to "
            f"another, {facts.system_identifier}",
            hint="Give the other cluster a server section of its own.",
        )
    if parent is not None and parent.systemid not in (None, facts.system_identifier):
        raise Refused(f"backup {parent.backup_id} is of another cluster, with system identifier {parent.systemid}")


def find_warnings(name: str, settings: ServerSettings, facts: ServerFacts, request: BackupRequest) -> list[str]:
    """Return what does not forbid this backup, and yet is to be known of it. name: of the server."""
    found = []
    if settings.primary_conninfo is not None and not facts.in_recovery:
        found.append(f"server {name} is no standby: primary_conninfo is ignored")
    if request.fail_on_checksum and facts.data_checksums != "on":
        found.append(f"server {name} has no page checksums: damaged pages will not be noticed")
    pgdata = facts.data_directory
    used = [*facts.included_files]
    if settings.backup_method == "postgres":
        used = [path for path in (facts.config_file, facts.hba_file, facts.ident_file) if path] + used
    outside = [path for path in used if pgdata and not path.startswith(pgdata.rstrip("/") + "/")]
    if outside and "external_configuration" not in settings.backup_options:
        found.append(
            "configuration files outside the data directory are not in this backup; see that they are backed up: "
            + ", ".join(dict.fromkeys(outside))
        )
    return found
