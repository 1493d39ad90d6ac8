"""The program around the commands: options, abbreviations, errors, exit codes, output."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys

import click
import pytest

from barman.cli import registry
from barman.cli.main import main
from barman.errors import BarmanError, ConfigError, HookAborted, Terminated, UsageError
from barman.version import __version__


@pytest.fixture
def command(monkeypatch):
    """Make `barman status` do what the test says, without options."""

    def use(action, *decorators):
        made = click.command("status")(action)
        for decorator in decorators:
            made = decorator(made)
        module = importlib.import_module("barman.cli.commands.status")
        monkeypatch.setattr(module, "command", made)

    return use


def test_help_needs_no_configuration_and_loads_no_command(run):
    result = run("--help")
    assert result.code == 0
    assert result.err == ""
    for one in registry.COMMANDS:
        assert one.name in result.out


def test_without_a_command_the_help_is_shown(run):
    assert run() == run("--help")


def test_the_command_help_shows_the_same(run):
    assert run("help") == run("--help")


def test_examples_stand_in_the_help_as_they_were_written(run):
    assert "\n  Examples:\n    barman check main\n    barman check all\n" in run("check", "--help").out


def test_help_takes_no_argument(run):
    assert run("help", "status").code == 2


@pytest.mark.parametrize("option", ["-v", "--version", "--vers"])
def test_version_is_the_first_word_of_one_line(run, option):
    result = run(option)
    assert result.code == 0
    assert result.out.split()[0] == __version__
    assert result.out.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["chek"], id="unknown command"),
        pytest.param(["sta"], id="abbreviated command"),
        pytest.param(["status"], id="missing argument"),
        pytest.param(["status", "main", "--nope"], id="unknown option"),
        pytest.param(["status", "main", "-q"], id="global option behind the command"),
        pytest.param(["--log-level", "info", "help"], id="level in lower case"),
        pytest.param(["--format", "xml", "help"], id="unknown format"),
        pytest.param(["check", "--check-timeout", "-1", "main"], id="negative number"),
    ],
)
def test_usage_errors_go_to_standard_error_and_end_with_two(run, words):
    result = run(*words)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("Usage: barman")
    assert "\nERROR: " in result.err


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--nag", "main"],
        ["check", "main", "--nagios"],
        ["check", "main", "--check-t", "5", "--nag"],
        ["check", "--check-t=5", "--nag", "main"],
        ["check", "--nagios", "--", "main"],
    ],
    ids=" ".join,
)
def test_long_options_may_be_shortened_and_mixed_with_arguments(desk, words):
    result = desk.run(*words)
    assert (result.code, result.out.splitlines()[-1]) == (2, "Unknown server 'main'")


def test_a_misspelt_command_is_guessed(run):
    assert "ERROR: no such command: verify-wall (did you mean 'verify-wal'?)" in run("verify-wall", "main").err
    assert "did you mean" not in run("quux").err


def test_a_global_option_behind_the_command_is_explained(run):
    assert (
        "HINT: -f goes before the command: barman -f … list-backups." in run("list-backups", "main", "-f", "json").err
    )


def test_an_ambiguous_option_is_refused(run):
    result = run("--co", "never", "help")
    assert result.code == 2
    assert "ambiguous option: --co could match --color, --colour, --config" in result.err


def test_two_spellings_of_one_option_are_not_ambiguous(run):
    assert run("--colo", "never", "help").code == 0


def test_the_value_of_an_option_is_not_taken_for_an_option(run):
    assert "configuration file --format does not exist" in run("--config", "--format", "list-servers").err


@pytest.mark.parametrize("alias", [alias for one in registry.COMMANDS for alias in one.aliases])
def test_old_spellings_are_understood(run, alias):
    assert run(alias, "--help").code == 0


def test_a_missing_configuration_file_is_one_error(run, tmp_path):
    result = run("-c", tmp_path / "none.conf", "list-servers")
    assert result.code == 1
    assert result.err.startswith("ERROR: configuration file")
    assert result.out == ""


def test_the_configuration_file_may_come_from_the_environment(run, desk, monkeypatch):
    desk.server("main")
    monkeypatch.setenv("BARMAN_CONFIG_FILE", str(desk.conf))
    assert run("list-servers").out == "main\n"


def test_an_error_is_one_line_and_a_hint_and_its_trace_is_in_the_log(desk, command):
    @click.pass_obj
    def fail(app):
        assert app.config
        raise BarmanError("cannot do it", hint="Do something else.")

    command(fail)
    result = desk.run("status")
    assert (result.code, result.out) == (1, "")
    assert result.err == "ERROR: cannot do it\nHINT: Do something else.\n"
    assert "Traceback" in desk.log.read_text()


def test_all_problems_of_a_configuration_are_told(desk, command):
    def fail():
        raise ConfigError("the configuration cannot be used", problems=["a.conf:1: one", "a.conf:2: two"])

    command(fail)
    result = desk.run("status")
    assert result.err.splitlines() == ["ERROR: a.conf:1: one", "ERROR: a.conf:2: two"]


@pytest.mark.parametrize(("error", "code"), [(BarmanError("no"), 1), (UsageError("no"), 2), (HookAborted("no"), 1)])
def test_the_exit_code_is_that_of_the_error(desk, command, error, code):
    def fail():
        raise error

    command(fail)
    assert desk.run("status").code == code


def test_a_bug_says_so_and_its_trace_goes_to_the_log_only(desk, command):
    @click.pass_obj
    def fail(app):
        assert app.config
        raise KeyError("lost")

    command(fail)
    result = desk.run("status")
    assert result.code == 1
    assert result.err.startswith("ERROR: internal error: KeyError: 'lost'\nHINT: This is a bug in barman")
    assert "Traceback" not in result.err
    assert "Traceback" in desk.log.read_text()


def test_debug_shows_the_trace_of_a_bug(desk, command):
    def fail():
        raise KeyError("lost")

    command(fail)
    assert "DEBUG: Traceback" in desk.run("-d", "status").err


def test_an_operating_system_error_names_the_file(desk, command):
    def fail():
        raise OSError(28, "No space left on device", "/some/file")

    command(fail)
    assert desk.run("status").err == "ERROR: No space left on device: /some/file\n"


@pytest.mark.parametrize(("interruption", "said"), [(KeyboardInterrupt, "interrupted"), (Terminated, "terminated")])
def test_an_interruption_is_one_error_line(desk, command, interruption, said):
    def fail():
        raise interruption

    command(fail)
    result = desk.run("status")
    assert (result.code, result.err) == (1, f"ERROR: {said}\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_command_through_its_cleanup(desk, command, number):
    cleaned = []

    def wait():
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            cleaned.append(True)

    command(wait)
    assert (desk.run("status").code, cleaned) == (1, [True])


def test_signal_handlers_are_put_back(desk):
    before = signal.getsignal(signal.SIGTERM)
    desk.run("list-servers")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def talkative(command):
    """A command that says one thing of each kind."""

    @click.pass_obj
    def talk(app):
        assert app.config
        output = app.output
        output.info("an info with password=hunter2 in it")
        output.warning("a warning")
        output.error("an error", hint="A hint.")
        output.debug("a debug message")
        output.write_line("a row")
        output.show("for people")
        output.result("for_programs", {"n": 1})

    command(talk)


def test_the_console_sends_results_to_stdout_and_trouble_to_stderr(desk, talkative):
    result = desk.run("status")
    assert result.code == 1
    assert result.out == "an info with password=*REDACTED* in it\na row\nfor people\n"
    assert result.err == "WARNING: a warning\nERROR: an error\nHINT: A hint.\n"


def test_quiet_keeps_warnings_and_errors(desk, talkative):
    result = desk.run("-q", "status")
    assert (result.out, result.err) == ("", "WARNING: a warning\nERROR: an error\nHINT: A hint.\n")


def test_debug_messages_are_shown_on_demand(desk, talkative):
    assert "DEBUG: a debug message\n" in desk.run("--debug", "status").err


def test_messages_are_logged_and_rows_are_not(desk, talkative):
    desk.run("-q", "status")
    log = desk.log.read_text()
    assert "an info with password=*REDACTED* in it" in log
    assert "WARNING: a warning" in log
    assert "a row" not in log
    assert "hunter2" not in log


def test_the_log_level_option_counts_for_the_log_alone(desk, talkative):
    result = desk.run("--log-level", "ERROR", "status")
    assert "WARNING: a warning" in result.err
    assert "a warning" not in desk.log.read_text()


def test_without_a_log_file_nothing_is_said_twice(desk, talkative):
    desk.section("barman", log_file="")
    result = desk.run("status")
    assert result.err == "WARNING: a warning\nERROR: an error\nHINT: A hint.\n"


def test_an_unwritable_log_file_is_a_warning(desk, tmp_path):
    desk.section("barman", log_file=tmp_path / "barman.conf" / "log")
    result = desk.run("list-servers")
    assert result.code == 0
    assert "WARNING: cannot write the log file" in result.err


def test_the_directory_of_the_log_is_made(desk, tmp_path):
    desk.section("barman", log_file=tmp_path / "a" / "b" / "log")
    desk.server("main", bogus="1")
    desk.run("list-servers")
    assert "bogus" in (tmp_path / "a" / "b" / "log").read_text()


def test_json_is_one_sorted_object_without_a_newline(desk, talkative):
    result = desk.run("--format=json", "status")
    assert (result.code, result.err) == (1, "")
    assert result.json() == {
        "_INFO": ["an info with password=hunter2 in it", "a row"],
        "_WARNING": ["a warning"],
        "_ERROR": ["an error (HINT: A hint.)"],
        "for_programs": {"n": 1},
    }
    assert result.out == json.dumps(result.json(), sort_keys=True)


def test_json_collects_debug_messages_on_demand(desk, talkative):
    assert desk.run("-d", "-f", "json", "status").json()["_DEBUG"] == ["a debug message"]


def test_json_and_quiet_print_nothing_at_all(desk, talkative):
    result = desk.run("-q", "-f", "json", "status")
    assert (result.code, result.out, result.err) == (1, "", "")


def test_errors_are_in_the_json_document_too(run, tmp_path):
    result = run("-f", "json", "-c", tmp_path / "none", "list-servers")
    assert (result.code, result.err) == (1, "")
    assert result.json()["_ERROR"]


@pytest.mark.parametrize("spelling", ["--color", "--colour"])
def test_colours_wrap_whole_lines_when_asked_for(desk, talkative, spelling):
    result = desk.run(spelling, "always", "status")
    assert "\033[33mWARNING: a warning\033[0m\n" in result.err
    assert "\033[31mERROR: an error\033[0m\n" in result.err


@pytest.mark.parametrize("when", ["auto", "never"])
def test_there_are_no_colours_where_there_is_no_terminal(desk, talkative, when):
    assert "\033" not in desk.run("--color", when, "status").err


def test_a_user_that_does_not_exist_is_an_error(desk):
    desk.section("barman", barman_user="nobody-of-this-name")
    result = desk.run("list-servers")
    assert result.code == 1
    assert "ERROR: the user 'nobody-of-this-name' of option barman_user does not exist" in result.err


PROGRAM = "from barman.entrypoints import barman; import sys; sys.exit(barman())"


@pytest.mark.parametrize("form", ["console", "json"])
def test_output_that_cannot_be_written_is_one_error(desk, form):
    desk.server("main")
    argv = [sys.executable, "-c", PROGRAM, "-c", desk.conf, "-f", form, "show-servers", "main"]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("ERROR: ")
    assert ended.stderr.endswith("cannot write to standard output: No space left on device\n")
    assert ended.stderr.count("\n") == 1


def test_work_goes_on_when_nobody_listens_any_more(tmp_path):
    program = (
        "import sys; from barman.cli.render.console import ConsoleOutput; out = ConsoleOutput();"
        "out.info('one'); sys.stdin.readline(); out.info('two'); out.warning('three'); out.info('four'); out.close();"
        "open(sys.argv[1], 'w').write('done')"
    )
    argv = [sys.executable, "-c", program, tmp_path / "done"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout.readline() == b"one\n"
    process.stdout.close()
    process.stdin.write(b"\n")
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "done").read_text() == "done"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(desk, closed):
    desk.server("main")
    command = f'exec "$0" -c "$1" -c {desk.conf} list-servers {closed}'
    ended = subprocess.run(["sh", "-c", command, sys.executable, PROGRAM], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == ("" if ">&-" in closed.split() else "main\n")


def test_what_is_wrong_at_the_start_is_told_once(desk):
    desk.section("barman", log_file=desk.conf / "log")
    desk.server("main", archiver="off")
    result = desk.run("cron")
    assert result.err.count("logging to standard error") == 1
    assert "WARNING: server main has neither archiver nor streaming_archiver switched on" in result.err


def test_completion_offers_servers_and_all_where_several_are_taken(desk, monkeypatch, capsys):
    desk.server("main")
    monkeypatch.setenv("_BARMAN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"barman -c {desk.conf} status ")
    monkeypatch.setenv("COMP_CWORD", "4")
    assert main([]) == 0
    assert capsys.readouterr().out.split() == ["plain,main", "plain,all"]


def test_completion_offers_words_for_backups(desk, monkeypatch, capsys):
    desk.server("main")
    monkeypatch.setenv("_BARMAN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"barman -c {desk.conf} show-backup main la")
    monkeypatch.setenv("COMP_CWORD", "5")
    assert main([]) == 0
    assert capsys.readouterr().out.split() == [
        "plain,latest",
        "plain,last",
        "plain,latest-full",
        "plain,last-full",
        "plain,last-failed",
    ]
