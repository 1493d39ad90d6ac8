"""What every command is given: the configuration, the servers it may work on, and where to speak."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

from click.exceptions import Exit

from barman import logs
from barman.cli.render.console import ConsoleOutput
from barman.config.refusals import colliding_directories, disabled_server
from barman.errors import BarmanError, ConfigError, UnknownServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from barman.cli.render.output import Output
    from barman.config.load import Config, ServerConfig
    from barman.config.settings import GlobalSettings
    from barman.server import Server

_log = logging.getLogger(__name__)


class Treatment(Enum):
    """What a command does with a server of a certain kind."""

    RUN = "run"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Rules:
    """One row of the profiles: the treatment of inactive, disabled and passive servers."""

    inactive: Treatment
    disabled: Treatment
    passive: Treatment


class Profile(Enum):
    """Which servers a command works on; the letters of the command-line reference (E is put-wal, which has its own)."""

    A = "operates on several servers that have a database of their own"
    B = "operates on several servers"
    C = "looks at several servers"
    D = "operates on one server"
    F = "gives back data of one server"
    G = "looks at one server"
    I = "maintains all servers"  # noqa: E741 - the letter of the reference
    J = "lists all servers"


_RUNS_ON_ALL: Final = Rules(Treatment.RUN, Treatment.RUN, Treatment.RUN)
_PROFILES: Final[Mapping[Profile, Rules]] = {
    Profile.A: Rules(Treatment.SKIP, Treatment.REFUSE, Treatment.SKIP),
    Profile.B: Rules(Treatment.SKIP, Treatment.REFUSE, Treatment.RUN),
    Profile.C: _RUNS_ON_ALL,
    Profile.D: Rules(Treatment.SKIP, Treatment.REFUSE, Treatment.RUN),
    Profile.F: Rules(Treatment.RUN, Treatment.REFUSE, Treatment.RUN),
    Profile.G: _RUNS_ON_ALL,
    Profile.I: Rules(Treatment.SKIP, Treatment.SKIP, Treatment.RUN),
    Profile.J: _RUNS_ON_ALL,
}


@dataclass(frozen=True)
class GlobalOptions:
    """The options before the command."""

    config: str | None = None
    colour: Literal["never", "always", "auto"] = "auto"
    log_level: str | None = None
    quiet: bool = False
    debug: bool = False
    output_format: Literal["console", "json"] = "console"

    def as_arguments(self) -> list[str]:
        """Spell them out again, for a program that parses its command line itself."""
        valued = (("--config", self.config), ("--color", self.colour), ("--log-level", self.log_level))
        words = [word for name, value in valued if value is not None for word in (name, value)]
        switches = ["--quiet"] * self.quiet + ["--debug"] * self.debug
        return [*words, *switches, "--format", self.output_format]


class App:
    """One run of the program."""

    def __init__(self) -> None:
        """A run whose options are not known yet; speaks plainly to the console."""
        self.options = GlobalOptions()
        self.output: Output = ConsoleOutput()
        self.log_file: Path | None = None

    def configure(self, options: GlobalOptions) -> None:
        """Take the global options; the configuration is read when a command needs it."""
        self.options = options
        if options.output_format == "json":
            from barman.cli.render.json import JsonOutput

            self.output = JsonOutput(quiet=options.quiet, debug=options.debug)
        else:
            self.output = ConsoleOutput(quiet=options.quiet, debug=options.debug, colour=options.colour)

    @cached_property
    def now(self) -> datetime:
        """The moment this run works with."""
        from barman.host import clock

        return clock.now()

    @cached_property
    def config_path(self) -> Path:
        """The main configuration file. ConfigError if there is none."""
        from barman.config.load import find_config

        return find_config(self.options.config, os.environ)

    def start(self) -> GlobalSettings:
        """Become barman_user and open the log, once; what the main file alone says. ConfigError."""
        return self._started

    @cached_property
    def _started(self) -> GlobalSettings:
        from barman.config.load import load_globals
        from barman.host.user import become_user

        settings = load_globals(self.config_path)
        become_user(settings.barman_user)
        self._open_log(settings)
        return settings

    @cached_property
    def config(self) -> Config:
        """The whole configuration, after start(); what is wrong with it but not fatal is told. ConfigError."""
        from barman.config.load import load_config

        self.start()
        config = load_config(self.config_path)
        for problem in config.problems:
            self.output.warning(str(problem))
        return config

    def servers(self, names: Sequence[str], profile: Profile) -> list[Server]:
        """The servers to work on, in name order, each once; `all` is every server.

        Unknown, refused and skipped ones are told and left out; the exit code knows. ConfigError: directories collide.
        """
        self.require_no_conflicts()
        every = "all" in names
        if every and len(names) > 1:
            self.output.error("'all' cannot be combined with other server names")
        found = []
        for name in self.config.servers if every else sorted(set(names)):
            try:
                server = self._admit(name, profile)
            except ConfigError as error:
                self.report(error)
            except UnknownServer as error:
                self.report(error)
            else:
                found += [server] if server is not None else []
        return found

    def server(self, name: str, profile: Profile) -> Server:
        """The one server to work on. UnknownServer, ConfigError; a server to be skipped ends the command in peace."""
        self.require_no_conflicts()
        if name == "all":
            raise UnknownServer("'all' is not understood here", hint="Name one server.")
        server = self._admit(name, profile)
        if server is None:
            raise Exit(self.output.exit_code)
        return server

    def each(self, names: Sequence[str], profile: Profile, action: Callable[[Server], None]) -> None:
        """Do action with each server of servers(); an error of one is told, and the next is taken."""
        for server in self.servers(names, profile):
            try:
                action(server)
            except BarmanError as error:
                self.report(error, server=server.name)

    def report(self, error: BarmanError, *, server: str = "") -> None:
        """Tell an error, with all its problems and its hint; the trace goes to the log.

        server: whose error it is, put in front where the message does not say so.
        """
        _log.info("what led to the next error", exc_info=error)
        # Problems say all that the message of an error sums up.
        lines = (error.problems if isinstance(error, ConfigError) else ()) or (error.message,)
        for line in lines:
            is_named = re.search(rf"\b{re.escape(server)}\b", line) is not None
            prefix = "" if is_named or not server else f"server {server}: "
            self.output.error(prefix + line, hint=error.hint if line is lines[-1] else None)

    def require_no_conflicts(self) -> None:
        """ConfigError when directories of different servers collide."""
        if self.config.path_conflicts:
            raise colliding_directories(self.config.path_conflicts)

    def _admit(self, name: str, profile: Profile) -> Server | None:
        from barman.server import open_server

        server = open_server(self.config, name)
        kind, treatment = _judge(server.config, _PROFILES[profile])
        if treatment is Treatment.RUN:
            return server
        if treatment is Treatment.REFUSE:
            if kind == "disabled":
                raise disabled_server(name, server.config.errors)
            raise ConfigError(f"server '{name}' is {kind}")
        self.output.info(f"Skipping {'temporarily disabled' if kind == 'disabled' else kind} server '{name}'")
        return None

    def _open_log(self, settings: GlobalSettings) -> None:
        complaint = logs.open_log(
            settings.log_file,
            level=self.options.log_level or settings.log_level,
            line_format=settings.log_format,
            verbose=self.options.log_level is not None or self.options.debug,
        )
        if complaint:
            self.output.warning(complaint)
        else:
            self.log_file = settings.log_file


def _judge(config: ServerConfig, rules: Rules) -> tuple[str, Treatment]:
    if not config.is_active:
        return "inactive", rules.inactive
    if config.is_disabled:
        return "disabled", rules.disabled
    if config.is_passive:
        return "passive", rules.passive
    return "active", Treatment.RUN
