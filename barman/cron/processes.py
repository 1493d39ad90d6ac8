"""What is running for a server, and stopping it. The locks say who does what."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from barman.errors import UserError
from barman.host.locks import HeldLock, held_locks
from barman.host.processes import stop_holder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.host.locks import NamedLock
    from barman.server import Server

TASKS = ("receive-wal", "sync-backup", "backup", "cron", "archive-wal", "sync-wal")


class Process(NamedTuple):
    """A process that works for a server. pid: 0 if it did not say. name: its task."""

    pid: int
    name: str


def list_processes(server: Server, server_names: Sequence[str]) -> list[Process]:
    """The processes that hold a lock of server, tasks in their usual order. server_names: all that are configured."""
    return [Process(lock.pid, lock.task) for lock in _find_locks(server, server_names)]


def terminate_process(server: Server, server_names: Sequence[str], task: str) -> Process:
    """Interrupt the process doing task for server and wait until it has let go of its lock; return what it was.

    UserError if there is none; BarmanError if it cannot be stopped.
    """
    for lock in _find_locks(server, server_names):
        pid = stop_holder(_lock(server, lock), task) if lock.task == task else None
        if pid is not None:
            return Process(pid, task)
    raise UserError(f"no process is doing {task} for server {server.name}")


def _find_locks(server: Server, server_names: Sequence[str]) -> list[HeldLock]:
    held = held_locks(server.locks.directory, server_names, server.name)
    return sorted((lock for lock in held if lock.task in TASKS), key=lambda lock: (TASKS.index(lock.task), lock.pid))


def _lock(server: Server, held: HeldLock) -> NamedLock:
    locks = server.locks
    if held.task == "sync-backup":
        return locks.sync_backup(held.backup_id or "")
    return {
        "receive-wal": locks.receive_wal,
        "backup": locks.backup,
        "cron": locks.cron,
        "archive-wal": locks.archive_wal,
        "sync-wal": locks.sync_wal,
    }[held.task]()
