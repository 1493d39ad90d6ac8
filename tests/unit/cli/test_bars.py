"""Progress bars on a console."""

from __future__ import annotations

import io
import sys

import pytest

from barman.cli.render.console import ConsoleOutput
from barman.cli.render.json import JsonOutput
from barman.progress import LogBar


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """Yes."""
        return True


@pytest.fixture
def watched(monkeypatch):
    """Call it in the test: standard output and error are on a terminal from then on, and are returned."""

    def watch():
        monkeypatch.setenv("TERM", "xterm")
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, Terminal())
        return sys.stdout, sys.stderr

    return watch


@pytest.mark.parametrize("unit", ["bytes", "segments", "files"])
def test_a_bar_is_drawn_on_standard_error_and_messages_stay_whole(watched, unit):
    out, err = watched()
    output = ConsoleOutput()
    with output.bar("Copying", total=None, unit=unit) as bar:
        bar.set_total(1000)
        bar.advance(500)
        output.info("half of it")
        output.warning("a warning")
        bar.advance(500)
    assert out.getvalue() == "half of it\n"
    assert "Copying" in err.getvalue()
    assert "\033[33mWARNING: a warning\033[0m\n" in err.getvalue()


def test_one_bar_at_a_time_is_drawn(watched):
    _, err = watched()
    output = ConsoleOutput()
    with output.bar("outer", total=1, unit="files"), output.bar("inner", total=1, unit="files") as inner:
        assert isinstance(inner, LogBar)
    assert "inner" not in err.getvalue()


@pytest.mark.parametrize("output_class", [lambda: ConsoleOutput(quiet=True), JsonOutput], ids=["quiet", "json"])
def test_nobody_who_asked_for_quiet_or_json_sees_a_bar(watched, output_class):
    _, err = watched()
    with output_class().bar("Copying", total=1, unit="files") as bar:
        bar.advance(1)
        bar.set_total(2)
    assert err.getvalue() == ""


def test_without_a_terminal_there_is_no_bar(capsys):
    with ConsoleOutput().bar("Copying", total=1, unit="files") as bar:
        bar.advance(1)
    assert capsys.readouterr().err == ""
