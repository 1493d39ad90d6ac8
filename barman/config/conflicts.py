"""Options of one server that contradict each other. Pure and hot-safe: each rule returns its findings as text.

Works on anything with the attributes of ServerSettings, so that hot programs need not build one.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from barman.config.values import is_url
from barman.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from barman.config.settings import ServerSettings

_LEVELS = {"gzip": (-1, 9), "lz4": (0, 12), "zstd": (-131072, 22), "none": (0, 0)}


def find_conflicts(settings: ServerSettings) -> list[str]:
    """Return what disables the server; [] if nothing. Inactive servers are not checked, passive ones hardly."""
    if settings.primary_ssh_command is not None:
        return list(_passive(settings))
    if not settings.active:
        return []
    return [finding for rule in _RULES for finding in rule(settings)]


def find_encryption_conflicts(settings: ServerSettings) -> list[str]:
    """Return what makes encryption impossible: check fails and backups are refused, the server is not disabled."""
    if settings.encryption == "none":
        return []
    found = []
    if settings.encryption_key_id is None:
        found.append("encryption requires encryption_key_id")
    if settings.backup_method != "postgres":
        found.append("encryption requires backup_method = postgres")
    if settings.backup_compression in (None, "none"):
        found.append("encryption requires backup_compression")
    if settings.backup_compression_format != "tar":
        found.append("encryption requires backup_compression_format = tar")
    return found


def find_cloud_conflicts(settings: ServerSettings) -> list[str]:
    """Return what cannot be combined with storage in the cloud: check fails and backups are refused."""
    if not (is_url(str(settings.basebackups_directory)) or is_url(str(settings.wals_directory))):
        return []
    found = []
    if settings.backup_compression not in (None, "none"):
        found.append("cloud storage cannot be combined with backup_compression")
    if settings.encryption != "none":
        found.append("cloud storage cannot be combined with encryption")
    if settings.worm_mode:
        found.append("cloud storage cannot be combined with worm_mode")
    if settings.compression in ("pigz", "custom"):
        found.append(f"cloud storage cannot be combined with compression = {settings.compression}")
    if settings.backup_method not in ("postgres", "local-to-cloud"):
        found.append("cloud storage requires backup_method = postgres or local-to-cloud")
    return found


def _passive(settings: ServerSettings) -> Iterator[str]:
    yield from _check_command("primary_ssh_command", settings.primary_ssh_command)


def _connections(settings: ServerSettings) -> Iterator[str]:
    if settings.conninfo is None:
        yield "required option conninfo is missing"
    else:
        yield from _check_conninfo("conninfo", settings.conninfo)
    if settings.streaming_archiver or settings.backup_method == "postgres":
        yield from _check_conninfo("streaming_conninfo", settings.streaming_conninfo)
    if settings.streaming_archiver:
        yield from _check_conninfo("wal_streaming_conninfo", settings.wal_streaming_conninfo)
        yield from _check_conninfo("wal_conninfo", settings.wal_conninfo)
    yield from _check_conninfo("primary_conninfo", settings.primary_conninfo)


def _archivers(settings: ServerSettings) -> Iterator[str]:
    if settings.streaming_archiver and not settings.archiver and settings.slot_name is None:
        yield "streaming_archiver without archiver requires slot_name"


def _ssh(settings: ServerSettings) -> Iterator[str]:
    method = settings.backup_method
    if method in ("rsync", "snapshot"):
        if settings.ssh_command is None:
            yield f"backup_method = {method} requires ssh_command"
        else:
            yield from _check_command("ssh_command", settings.ssh_command)
    elif method == "local-rsync" and settings.ssh_command is not None:
        yield "backup_method = local-rsync cannot be combined with ssh_command"


def _method(settings: ServerSettings) -> Iterator[str]:
    method = settings.backup_method
    limits = bool(settings.tablespace_bandwidth_limit)
    reuse = settings.reuse_backup in ("copy", "link", "reflink")
    compressed = settings.backup_compression not in (None, "none")
    refused = {
        "rsync": {"backup_compression": compressed},
        "local-rsync": {"backup_compression": compressed},
        "postgres": {
            "tablespace_bandwidth_limit": limits,
            "reuse_backup": reuse,
            "network_compression": settings.network_compression,
        },
        "snapshot": {
            "backup_compression": compressed,
            "bandwidth_limit": settings.bandwidth_limit is not None,
            "network_compression": settings.network_compression,
            "tablespace_bandwidth_limit": limits,
            "reuse_backup": reuse,
        },
    }
    for option, is_set in refused.get(method, {}).items():
        if is_set:
            yield f"backup_method = {method} cannot be combined with {option}"


def _compression(settings: ServerSettings) -> Iterator[str]:
    """Return what is wrong for every version of PostgreSQL; the rest is checked against the server."""
    algorithm, level = settings.backup_compression, settings.backup_compression_level
    if algorithm is None or settings.backup_method != "postgres":
        return
    lowest, highest = _LEVELS[algorithm]
    if level is not None and not lowest <= level <= highest:
        yield f"backup_compression_level = {level} is outside {lowest} to {highest} of backup_compression = {algorithm}"
    if settings.backup_compression_workers is not None and algorithm != "zstd":
        yield f"backup_compression_workers cannot be combined with backup_compression = {algorithm}"
    if (
        algorithm != "none"
        and settings.backup_compression_format == "plain"
        and settings.backup_compression_location != "server"
    ):
        yield "backup_compression_format = plain requires backup_compression_location = server"


def _snapshot(settings: ServerSettings) -> Iterator[str]:
    if settings.backup_method != "snapshot":
        return
    for option in ("snapshot_disks", "snapshot_instance", "snapshot_provider"):
        if getattr(settings, option) is None:
            yield f"backup_method = snapshot requires {option}"
    provider = settings.snapshot_provider
    if provider == "gcp" and settings.gcp_project is None and settings.snapshot_gcp_project is None:
        yield "snapshot_provider = gcp requires gcp_project"
    if provider == "azure" and settings.azure_subscription_id is None:
        yield "snapshot_provider = azure requires azure_subscription_id"
    if provider == "aws":
        yield from _aws_lock(settings)


def _aws_lock(settings: ServerSettings) -> Iterator[str]:
    ends = (settings.aws_snapshot_lock_duration, settings.aws_snapshot_lock_expiration_date)
    given = sum(end is not None for end in ends)
    if settings.aws_snapshot_lock_mode is None:
        if given or settings.aws_snapshot_lock_cool_off_period is not None:
            yield "options of the AWS snapshot lock require aws_snapshot_lock_mode"
        return
    if given != 1:
        yield (
            "aws_snapshot_lock_mode requires exactly one of aws_snapshot_lock_duration"
            " and aws_snapshot_lock_expiration_date"
        )
    if settings.aws_snapshot_lock_mode == "governance" and settings.aws_snapshot_lock_cool_off_period is not None:
        yield "aws_snapshot_lock_mode = governance cannot be combined with aws_snapshot_lock_cool_off_period"


def _aws_encryption(settings: ServerSettings) -> Iterator[str]:
    if settings.aws_sse_kms_key_id is not None and settings.aws_encryption != "aws:kms":
        yield "aws_sse_kms_key_id requires aws_encryption = aws:kms"


def _custom_filters(settings: ServerSettings) -> Iterator[str]:
    if settings.compression != "custom":
        return
    for option in ("custom_compression_filter", "custom_decompression_filter"):
        if getattr(settings, option) is None:
            yield f"compression = custom requires {option}"


_RULES: tuple[Callable[[ServerSettings], Iterator[str]], ...] = (
    _connections,
    _archivers,
    _ssh,
    _method,
    _compression,
    _snapshot,
    _aws_encryption,
    _custom_filters,
)


def _check_conninfo(option: str, value: str | None) -> Iterator[str]:
    if value is None:
        return
    from barman.postgres.conninfo import parse_conninfo

    try:
        parse_conninfo(value)
    except ConfigError as error:
        yield f"option {option} is not a connection string: {error.message}"


def _check_command(option: str, value: str | None) -> Iterator[str]:
    try:
        words = shlex.split(value or "")
    except ValueError as error:
        yield f"option {option} is not a command line: {error}"
        return
    if not words:
        yield f"option {option} is empty"
