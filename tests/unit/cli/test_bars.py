"""Progress bars on a console."""

from __future__ import annotations

import sys

import pytest

from barman.cli.render.console import ConsoleOutput
from barman.cli.render.json import JsonOutput
from barman.progress import NoBar


@pytest.fixture
def terminal(capsys, monkeypatch):
    """Standard output and error on a terminal; what was written there."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    return capsys


@pytest.mark.parametrize("unit", ["bytes", "segments", "files"])
def test_a_bar_is_drawn_on_standard_error_and_messages_stay_whole(terminal, unit):
    output = ConsoleOutput()
    with output.bar("Copying", total=None, unit=unit) as bar:
        bar.set_total(1000)
        bar.advance(500)
        output.info("half of it")
        output.warning("a warning")
        bar.advance(500)
    shown = terminal.readouterr()
    assert shown.out == "half of it\n"
    assert "Copying" in shown.err
    assert "\033[33mWARNING: a warning\033[0m\n" in shown.err


def test_one_bar_at_a_time_is_drawn(terminal):
    output = ConsoleOutput()
    with output.bar("outer", total=1, unit="files"), output.bar("inner", total=1, unit="files") as inner:
        assert isinstance(inner, NoBar)
    assert "inner" not in terminal.readouterr().err


@pytest.mark.parametrize("output_class", [lambda: ConsoleOutput(quiet=True), JsonOutput], ids=["quiet", "json"])
def test_nobody_who_asked_for_quiet_or_json_sees_a_bar(terminal, output_class):
    with output_class().bar("Copying", total=1, unit="files") as bar:
        bar.advance(1)
        bar.set_total(2)
    assert terminal.readouterr().err == ""


def test_without_a_terminal_there_is_no_bar(capsys):
    with ConsoleOutput().bar("Copying", total=1, unit="files") as bar:
        bar.advance(1)
    assert capsys.readouterr().err == ""
