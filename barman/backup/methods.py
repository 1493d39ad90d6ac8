"""Which executor takes backups with which backup_method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.backup.executors.postgres import PostgresExecutor
from barman.backup.executors.rsync import RsyncExecutor
from barman.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from barman.backup.executor import Executor, Job

METHODS: Mapping[str, Callable[[Job], Executor]] = {
    "postgres": PostgresExecutor,
    "rsync": RsyncExecutor,
    "local-rsync": RsyncExecutor,
}


def executor_for(job: Job) -> Executor:
    """Return the executor for the job's backup_method; ConfigError if there is none."""
    method = job.settings.backup_method
    if method not in METHODS:
        raise ConfigError(
            f"server {job.server.name}: this version takes no backups with backup_method = {method}",
            hint=f"Set backup_method to {' or '.join(METHODS)}.",
        )
    return METHODS[method](job)
