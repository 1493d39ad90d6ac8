"""The one line a Nagios-compatible monitor reads, with its performance data. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.monitor.check import CheckReport

CRITICAL = 2


def nagios_lines(reports: Sequence[CheckReport], *, errors: Sequence[str] = ()) -> tuple[list[str], int]:
    """The lines to print and the exit code. errors: what went wrong besides the checks.

    A server that could not be checked at all is such an error, and critical even when all others are well.
    """
    if not reports:
        if errors:
            return ["BARMAN CRITICAL - Global configuration errors", *errors], CRITICAL
        return ["BARMAN OK - No server configured"], 0
    failing = [report for report in reports if report.failed and report.is_active]
    ignored = [report.server for report in reports if report.failed and not report.is_active]
    perfdata = _perfdata(reports)
    if not failing and errors:
        return [f"BARMAN CRITICAL - Global configuration errors{_ignoring(ignored)}{perfdata}", *errors], CRITICAL
    if not failing:
        return [f"BARMAN OK - {_ready(reports)}{_ignoring(ignored)}{perfdata}"], 0
    issues = "".join(
        f" * {report.server} FAILED: {', '.join(item.name for item in report.failed)}" for report in failing
    )
    if len(reports) == 1:
        head = f"server {reports[0].server} has issues"
    else:
        head = f"{len(failing)} server out of {len(reports)} have issues"
    lines = [f"BARMAN CRITICAL - {head}{issues}{_ignoring(ignored)}{perfdata}"]
    lines += [
        f"{report.server}.{item.name}: FAILED" + (f" ({item.hint})" if item.hint else "")
        for report in failing
        for item in report.failed
    ]
    return [*lines, *errors], CRITICAL


def _ready(reports: Sequence[CheckReport]) -> str:
    if len(reports) == 1:
        return f"Ready to serve the Espresso backup for {reports[0].server}"
    names = "".join(f" * {report.server}" for report in reports if not report.failed)
    return f"Ready to serve the Espresso backup for {len(reports)} servers{names}"


def _ignoring(names: Sequence[str]) -> str:
    return f" * IGNORING: {' * IGNORING: '.join(names)}" if names else ""


def _perfdata(reports: Sequence[CheckReport]) -> str:
    values = []
    for report in reports:
        sizes = {item.name: item.size_bytes for item in report.items if item.size_bytes is not None}
        values.append(f"{report.server}={sizes.get('backup minimum size', 0)}B")
        values.append(f"{report.server}_wals={sizes.get('wal size', 0)}B")
    # Behind what monitors know from Barman 3.19, and only where there is one.
    for report in reports:
        ages = {item.name: item.age for item in report.items if item.age is not None}
        for label, name in (("backup_age", "backup maximum age"), ("wal_age", "wal maximum age")):
            if name in ages:
                values.append(f"{report.server}_{label}={max(ages[name].total_seconds(), 0):.0f}s")
    return "|" + " ".join(values)
