"""Every command: where it lives and one line about it, so that listing them loads none."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A sub-command. module: below barman.cli.commands, exporting `command`. aliases: old spellings, not listed."""

    name: str
    summary: str
    aliases: tuple[str, ...] = ()
    module: str = ""

    @property
    def path(self) -> str:
        """Its module's full name."""
        return f"barman.cli.commands.{self.module or self.name.replace('-', '_')}"


COMMANDS: tuple[Command, ...] = (
    Command("archive-wal", "Move waiting WAL files into the archive"),
    Command("backup", "Take a base backup of one or more servers"),
    Command("check", "Check that servers can be backed up and restored"),
    Command("check-backup", "Check that all WAL files of a backup are archived"),
    Command("check-wal-archive", "Check that the WAL archive is fit for a new server"),
    Command("config-switch", "Apply a configuration model to a server, or take it back"),
    Command("config-update", "Change options of servers and models"),
    Command("cron", "Do the regular maintenance of all servers; run it every minute"),
    Command("delete", "Delete backups"),
    Command("diagnose", "Print everything about this installation, as JSON"),
    Command("export-backup", "Write a backup with its WAL files to a tarball"),
    Command("generate-manifest", "Write the manifest of a backup that has none"),
    Command("get-wal", "Fetch a WAL file from the archive"),
    Command("help", "Show this text"),
    Command("import-backup", "Take in a backup from a tarball"),
    Command("keep", "Mark a backup to be kept whatever the retention policy says"),
    Command("list-backups", "List the backups of servers", ("list-backup",)),
    Command("list-files", "List the files of a backup"),
    Command("list-processes", "List what barman is doing for a server", ("list-process",)),
    Command("list-restore-points", "Show from where to where a server can be recovered, and named restore points"),
    Command("list-servers", "List the configured servers", ("list-server",)),
    Command("lock-directory-cleanup", "Remove lock files nobody holds"),
    Command("put-wal", "Receive WAL files on standard input"),
    Command("rebuild-xlogdb", "Rebuild the list of archived WAL files from the archive"),
    Command("receive-wal", "Receive WAL by streaming replication"),
    Command("replication-status", "Show the replication clients of servers"),
    Command("restore", "Restore a backup, up to any point in time", ("recover",)),
    Command("retention", "Explain what the retention policy does with backups"),
    Command("show-backup", "Show all about one backup", ("show-backups",)),
    Command("show-servers", "Show the settings and state of servers", ("show-server",)),
    Command("status", "Show the state of servers"),
    Command("switch-wal", "Make PostgreSQL close its current WAL file", ("switch-xlog",)),
    Command("sync-backup", "Copy backups from the primary of a passive node"),
    Command("sync-info", "Tell a passive node what there is to copy"),
    Command("sync-wals", "Copy WAL files from the primary of a passive node"),
    Command("terminate-process", "Stop something barman is doing for a server"),
    Command("verify-backup", "Compare a backup with its manifest", ("verify",)),
    Command("verify-wal", "Verify the WAL archive: files, the list of them, holes, and what is in them"),
)


def find_command(name: str) -> Command | None:
    """The command of that exact name or alias."""
    return next((command for command in COMMANDS if name == command.name or name in command.aliases), None)
