"""What can go wrong, as one tree.

    BarmanError
    ├── UsageError            wrong arguments, found after parsing (exit 2)
    ├── ConfigError           all problems of the configuration at once
    ├── UserError             the request cannot be granted
    │   ├── UnknownServer
    │   ├── UnknownBackup
    │   └── Refused           granted in principle, forbidden by policy or state
    ├── PostgresError         carries the SQLSTATE
    │   └── ConnectionFailed  no connection, or it was lost
    ├── CommandError          a program we ran failed; argv already masked
    │   └── Unreachable       another host does not let us in
    ├── StorageError
    │   ├── NotFound
    │   ├── Transient         worth trying again
    │   └── Permanent
    │       └── Encrypted     what it takes to decrypt it is not here
    ├── CatalogError          a record or ledger cannot be read or written
    ├── WalError              a WAL file or WAL name is not what it should be
    ├── LockBusy              somebody else is doing it
    ├── HookAborted           a retry hook said stop (exit code 63)
    └── BackupFailed          a backup was begun, and is recorded as FAILED

    Terminated                SIGTERM or SIGHUP; a KeyboardInterrupt, so that nothing swallows it

Messages start in lower case, name the thing, and carry no full stop; hints are sentences. Hot-safe: imports nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar


class BarmanError(Exception):
    """A failure a person can act on: one line, perhaps a hint, and the exit code of the command that met it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """message: what, which, why. hint: one sentence saying what to do."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(BarmanError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class ConfigError(BarmanError):
    """The configuration cannot be used; problems holds every finding, each with its file and line."""

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str | None = None) -> None:
        """problems: one line each, in file order; empty when message says it all."""
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class UserError(BarmanError):
    """The request cannot be granted as made."""


class UnknownServer(UserError):
    """No section of the configuration has this name."""


class UnknownBackup(UserError):
    """No backup of the server has this id or name."""


class Refused(UserError):
    """Policy or the state of the catalogue forbids it; the message says which."""


class PostgresError(BarmanError):
    """PostgreSQL refused or failed a statement."""

    def __init__(self, message: str, *, sqlstate: str | None = None, hint: str | None = None) -> None:
        """sqlstate: five characters, where the server gave one."""
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


class ConnectionFailed(PostgresError):
    """PostgreSQL cannot be reached, or the connection broke."""


class CommandError(BarmanError):
    """A program we ran failed, could not be started, or took too long."""

    def __init__(
        self,
        message: str,
        *,
        argv: Sequence[str] = (),
        status: int | None = None,
        stderr: str = "",
        hint: str | None = None,
    ) -> None:
        """argv: with secrets already masked. status: exit status, negative for a signal. stderr: its last lines."""
        super().__init__(message, hint=hint)
        self.argv = tuple(argv)
        self.status = status
        self.stderr = stderr


class Unreachable(CommandError):
    """Another host does not answer, or does not let us in."""


class StorageError(BarmanError):
    """Reading or writing bytes failed; the message names the key."""


class NotFound(StorageError):
    """There is nothing under this key."""


class Transient(StorageError):
    """It may work when tried again."""


class Permanent(StorageError):
    """Trying again will not help: no space, no permission, a broken disk."""


class Encrypted(Permanent):
    """The content is encrypted, and the passphrase, the key or the program to decrypt it is not here, or wrong."""


class CatalogError(BarmanError):
    """What barman remembers cannot be read or written; the message names the file."""


class WalError(BarmanError):
    """A WAL file, or a name said to be one, is not what it should be."""


class LockBusy(BarmanError):
    """Another process holds the lock."""

    def __init__(self, message: str, *, holder: int | None = None, hint: str | None = None) -> None:
        """holder: pid found in the lock file, if any."""
        super().__init__(message, hint=hint)
        self.holder = holder


class HookAborted(BarmanError):
    """A pre retry hook ended with 63: stop."""


class BackupFailed(BarmanError):
    """A backup could not be completed; its record says why."""

    def __init__(self, message: str, *, backup_id: str | None = None, hint: str | None = None) -> None:
        """backup_id: of its record; None if not even that could be written."""
        super().__init__(message, hint=hint)
        self.backup_id = backup_id


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM, SIGHUP). Clean up and let it pass, as with Ctrl-C."""
