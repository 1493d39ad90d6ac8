"""The verdicts of `check` on the host whose files are copied (backup_method = rsync, local-rsync). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.monitor.check_items import CheckItem
from barman.postgres.versions import MINIMUM_VERSION, Feature, supports, version_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.config.settings import ServerSettings
    from barman.monitor.check_facts import SourceFacts
    from barman.postgres.facts import ServerFacts


def copies_files(settings: ServerSettings) -> bool:
    """Whether backups of this server are copies of its files."""
    return settings.backup_method in {"rsync", "local-rsync"}


def judge_source(settings: ServerSettings, source: SourceFacts, server: ServerFacts | None) -> Iterator[CheckItem]:
    """The lines from ssh to postgres minimal version. server: None while PostgreSQL cannot be reached."""
    if settings.backup_method == "rsync":
        hint = source.error or ""
        yield CheckItem("ssh", ok=source.error is None, hint=hint or "PostgreSQL server")
        if source.error is None and source.noise:
            first = source.noise.splitlines()[0][:80]
            hint = f"the remote shell prints '{first}' by itself, which gets into the way of rsync"
            yield CheckItem("ssh output clean", ok=False, hint=hint)
    if server is None and source.has_label:
        hint = "PostgreSQL does not run, and backup_label lies in its data directory: it may not start, see the manual"
        yield CheckItem("backup_label", ok=False, hint=hint)
    if settings.backup_method == "local-rsync" and server is not None:
        yield CheckItem("local PGDATA", ok=source.error is None, hint=source.error or "")
    if server is not None:
        yield from _strategy(settings, server)


def _strategy(settings: ServerSettings, server: ServerFacts) -> Iterator[CheckItem]:
    if "exclusive_backup" in settings.backup_options:
        hint = "exclusive backups can be taken of primaries only" if server.in_recovery else ""
        yield CheckItem("not in recovery", ok=not server.in_recovery, hint=hint)
        is_possible = supports(server.version_num, Feature.EXCLUSIVE_BACKUP)
        hint = "" if is_possible else f"PostgreSQL {server.version_text} has no exclusive backups"
        yield CheckItem("exclusive backup supported", ok=is_possible, hint=hint)
    if server.version_num < MINIMUM_VERSION:
        hint = f"PostgreSQL {server.version_text} is older than {version_text(MINIMUM_VERSION)}"
        yield CheckItem("postgres minimal version", ok=False, hint=hint)
