"""What a server says of itself, for tests of what is decided from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from barman.postgres.facts import ServerFacts, Setting

_PRIMARY = ServerFacts(
    version_num=150018,
    in_recovery=False,
    system_identifier="7",
    timeline=1,
    current_lsn="0/3000060",
    redo_lsn="0/3000028",
    server_time=datetime(2026, 11, 21, 12, tzinfo=timezone.utc),
    is_superuser=False,
    has_backup_privileges=True,
    has_monitoring_privileges=True,
    has_checkpoint_privileges=True,
    settings={},
)


def facts_of_a_primary(settings: dict[str, str | Setting] | None = None, **changed: Any) -> ServerFacts:
    """The facts of a PostgreSQL 15 whose user may take backups; settings by name, a value without a unit as text."""
    by_name = {name: Setting(one) if isinstance(one, str) else one for name, one in (settings or {}).items()}
    return replace(_PRIMARY, settings=by_name, **changed)
