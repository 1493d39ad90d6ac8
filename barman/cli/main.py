"""The `barman` program: global options, commands found by name, and one place where errors end."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final, Literal

import click

from barman import logs
from barman.cli.abbreviations import expand
from barman.cli.context import App, GlobalOptions
from barman.cli.registry import COMMANDS, find_command
from barman.cli.render.console import silence
from barman.errors import BarmanError, Terminated
from barman.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

_log = logging.getLogger(__name__)

_COMPLETION_VARIABLE: Final = "_BARMAN_COMPLETE"
_STDERR: Final = 2


class _Commands(click.Group):
    """The sub-commands of the registry, each loaded when it is called and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [command.name for command in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = find_command(cmd_name)
        if found is None:
            return None
        command: click.Command = importlib.import_module(found.path).command
        # In their docstrings examples begin with the two characters \b; click wants a backspace there.
        command.help = (command.help or "").replace("\\b", "\b")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(command.name, command.summary) for command in COMMANDS])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, expand(self, ctx, args))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if find_command(args[0]) is None:
            from difflib import get_close_matches

            like = get_close_matches(args[0], self.list_commands(ctx), n=1)
            ctx.fail(f"no such command: {args[0]}" + (f" (did you mean '{like[0]}'?)" if like else ""))
        name, command, rest = super().resolve_command(ctx, args)
        if command is None:
            return name, command, rest
        child = click.Context(command, info_name=name, parent=ctx, resilient_parsing=True)
        return name, command, expand(command, child, rest)


def _show_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - as click calls it
    if value and not ctx.resilient_parsing:
        click.echo(f"{__version__} Barman, backup and recovery manager for PostgreSQL")
        ctx.exit()


@click.command(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Run 'barman COMMAND --help' for the options of a command.",
)
@click.option("-c", "--config", metavar="PATH", help="Configuration file, instead of the usual places.")
@click.option(
    "--color",
    "--colour",
    "colour",
    type=click.Choice(["never", "always", "auto"]),
    default="auto",
    help="Whether to colour the output; auto: on a terminal.",
)
@click.option(
    "--log-level",
    type=click.Choice(["NOTSET", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
    help="Level of the log, instead of the option log_level.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")
@click.option("-d", "--debug", is_flag=True, help="Show debug messages.")
@click.option(
    "-f",
    "--format",
    "output_format",
    type=click.Choice(["console", "json"]),
    default="console",
    help="Output for people or for programs.",
)
@click.option(
    "-v", "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.pass_context
def _barman(
    ctx: click.Context,
    /,
    *,
    config: str | None,
    colour: Literal["never", "always", "auto"],
    log_level: str | None,
    quiet: bool,
    debug: bool,
    output_format: Literal["console", "json"],
) -> None:
    """Back up PostgreSQL servers, keep their WAL, and restore them to any point in time.

    Which servers there are, and how each is backed up, is written in the configuration file: the one given with -c,
    else $BARMAN_CONFIG_FILE, else the first of ~/.barman.conf, /etc/barman.conf, /etc/barman/barman.conf.

    SERVER_NAME is a section of that file; where several can be given, 'all' stands for every one. BACKUP_ID is an id
    such as 20261121T053358, the name a backup was given, or one of latest, oldest, latest-full, last-failed.
    """
    ctx.ensure_object(App).configure(GlobalOptions(config, colour, log_level, quiet, debug, output_format))
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program name); returns the exit code. Nothing escapes but SystemExit."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if _COMPLETION_VARIABLE in os.environ:
        from click.shell_completion import shell_complete

        return shell_complete(_barman, {}, "barman", _COMPLETION_VARIABLE, os.environ[_COMPLETION_VARIABLE])
    _open_closed_streams()
    # Until the log is open, records go nowhere rather than to the terminal, which shows the messages anyway.
    logging.getLogger("barman").addHandler(logging.NullHandler())
    app = App()
    with _signals():
        code = _run(app, arguments)
        try:
            app.output.close()
        except OSError as error:
            silence(sys.stdout)
            code = code or 1
            if not isinstance(error, BrokenPipeError):
                click.echo(f"ERROR: cannot write to standard output: {error.strerror}", err=True)
    logs.close_log()
    return code


def _run(app: App, arguments: list[str]) -> int:
    """The error boundary."""
    try:
        with _barman.make_context("barman", arguments, obj=app) as ctx:
            _barman.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        return _usage_error(error)
    except BarmanError as error:
        app.report(error)
        return error.exit_code
    except KeyboardInterrupt as error:
        _log.info("interrupted", exc_info=error)
        app.output.error("terminated" if isinstance(error, Terminated) else "interrupted")
        return 1
    except BrokenPipeError:
        silence(sys.stdout)
        return 1
    except OSError as error:
        _trace(app, error)
        place = f": {error.filename}" if error.filename is not None else ""
        app.output.error(f"{error.strerror or error}{place}")
        return 1
    except Exception as error:  # noqa: BLE001 - the boundary of the program
        _trace(app, error)
        where = f"the trace is in {app.log_file}" if app.log_file else "run it with --debug to see the trace"
        app.output.error(
            f"internal error: {type(error).__name__}: {error}",
            hint=f"This is a bug in barman, please report it; {where}.",
        )
        return 1
    return app.output.exit_code


def _usage_error(error: click.UsageError) -> int:
    if error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
    click.echo(f"ERROR: {error.format_message()}", err=True)
    if error.ctx is not None:
        click.echo(f"HINT: {_usage_hint(error, error.ctx)}", err=True)
    return error.exit_code


def _usage_hint(error: click.UsageError, context: click.Context) -> str:
    if isinstance(error, click.NoSuchOption) and context.parent is not None:
        here = context.find_root()
        if any(error.option_name in parameter.opts for parameter in here.command.get_params(here)):
            return f"{error.option_name} goes before the command: barman {error.option_name} … {context.info_name}."
    return f"Try '{context.command_path} --help'."


def _trace(app: App, error: Exception) -> None:
    _log.error("%s", error, exc_info=error)
    if app.options.debug:
        import traceback

        app.output.debug("".join(traceback.format_exception(error)).rstrip())


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the command as Ctrl-C does, cleaning up on the way out; a HUP ignored stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.append(signal.SIGHUP)
    before = {number: signal.signal(number, _terminate) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise Terminated(f"got {signal.Signals(number).name}")


def _open_closed_streams() -> None:
    """Where a stream was closed by the caller, use /dev/null, lest the next file we open becomes its number."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= _STDERR:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for the life of the process
