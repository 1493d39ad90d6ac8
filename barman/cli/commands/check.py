"""The command `check`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from barman.cli.arguments import NON_NEGATIVE, SERVERS_ARG
from barman.cli.context import Profile
from barman.cli.render.nagios import nagios_lines
from barman.errors import BarmanError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barman.cli.context import App
    from barman.cli.render.output import Output
    from barman.monitor.check import CheckReport
    from barman.server import Server

_AT_A_TIME = 16


@click.command("check")
@SERVERS_ARG
@click.option("--nagios", is_flag=True, help="Print one line with performance data, for Nagios and its kin.")
@click.option(
    "--check-timeout",
    type=NON_NEGATIVE,
    metavar="SECONDS",
    help="Time limit for each server, instead of the option check_timeout; 0 for none.",
)
@click.pass_obj
def command(app: App, server_names: Sequence[str], nagios: bool, check_timeout: int | None) -> None:
    r"""Check that servers can be backed up and restored.

    Looks at the connections, the roles' privileges, how WAL travels, the directories, the programs of PostgreSQL, the
    backups, and the configuration, of several servers at the same time. Ends with 1 when anything failed, with
    --nagios with 2; failures of servers with active = false do not count. Missing directories are created. While
    nothing is archived yet, PostgreSQL is made to switch to a new WAL file.

    \b
    Examples:
      barman check main
      barman check all
      barman check --nagios --check-timeout 10 main
    """
    if nagios:
        # Monitors take what is said on either stream for the status; quiet JSON says nothing, and collects the errors.
        app.configure(replace(app.options, output_format="json", quiet=True))
    reports: list[CheckReport] = []
    try:
        for report in _reports(app, server_names, check_timeout):
            reports.append(report)
            if not nagios:
                _render(app.output, report)
    except BarmanError as error:
        if not nagios:
            raise
        app.report(error)
    except OSError as error:
        if not nagios:
            raise
        app.output.error(str(error))
    if not nagios:
        return
    lines, code = nagios_lines(reports, errors=app.output.errors)
    for line in lines:
        click.echo(line)
    raise Exit(code)


def _reports(app: App, server_names: Sequence[str], timeout_s: int | None) -> Iterator[CheckReport]:
    """Yield what the checks of each server found, in order; a server that cannot be checked is told."""
    from barman.monitor.check import run_checks
    from barman.monitor.together import each_together

    def check(server: Server) -> CheckReport:
        return run_checks(server, timeout_s=timeout_s)

    # Most of the time of a check is spent waiting for other hosts.
    for server, found in each_together(check, app.servers(server_names, Profile.C), at_most=_AT_A_TIME):
        if isinstance(found, BarmanError):
            app.report(found, server=server.name)
        else:
            yield found


def _render(output: Output, report: CheckReport) -> None:
    state = " (WARNING: disabled)" if report.is_disabled else ""
    state = state if report.is_active else " (inactive)"
    output.show(f"Server {report.server}{state}:")
    document = {}
    for item in report.items:
        verdict = output.paint("OK", "green") if item.ok else output.paint("FAILED", "red")
        output.show(f"\t{item.name}: {verdict}" + (f" ({item.hint})" if item.hint else ""))
        if item.name == "configuration":
            for message in report.messages:
                output.write_line(f"\t\t{message}")
        document[_key(item.name)] = {"status": "OK" if item.ok else "FAILED", "hint": item.hint}
    output.result(report.server, document)
    if report.failed and report.is_active:
        output.failed = True


def _key(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_").replace(".", "")
