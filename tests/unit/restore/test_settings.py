from __future__ import annotations

import pytest

from barman.restore.settings import Change, Finding, Include, mangle, parse_setting, quote, unquote


@pytest.mark.parametrize(
    ("line", "setting"),
    [
        ("archive_command = '/bin/x %p'\n", ("archive_command", "'/bin/x %p'")),
        ("  Archive_Command='it''s # not a comment' # but this\n", ("archive_command", "'it''s # not a comment'")),
        ("port 5432", ("port", "5432")),
        ("port=5432#x", ("port", "5432")),
        ("include_dir 'conf.d'", ("include_dir", "'conf.d'")),
        ("my.setting = on", ("my.setting", "on")),
        ("x = 'unfinished", ("x", "'unfinished")),
        (r"x = 'a\'b' y", ("x", r"'a\'b'")),
        ("#port = 5432", ("", "")),
        ("", ("", "")),
        ("port", ("", "")),
        ("port = # nothing", ("", "")),
    ],
)
def test_a_line_holds_a_setting_or_none(line, setting):
    assert parse_setting(line) == setting


def test_archiving_is_replaced_and_recovery_commented_out():
    text = (
        "# comment\n"
        "archive_mode = on\n"
        "ARCHIVE_COMMAND = 'cp %p /live/%f'\n"
        "archive_library 'basic_archive'\n"
        "recovery_target_xid = '7'\n"
        "restore_command = 'cp /live/%f %p'\n"
        "port = 5433"
    )
    mangled = mangle(text, is_standby=False)
    assert mangled.text == (
        "# comment\n"
        "archive_mode = on\n"
        "#BARMAN#ARCHIVE_COMMAND = 'cp %p /live/%f'\n"
        "archive_command = false\n"
        "#BARMAN#archive_library 'basic_archive'\n"
        "archive_library = ''\n"
        "#BARMAN#recovery_target_xid = '7'\n"
        "#BARMAN#restore_command = 'cp /live/%f %p'\n"
        "port = 5433"
    )
    assert mangled.changes == (
        Change(4, "archive_command", "'cp %p /live/%f'", "false"),
        Change(6, "archive_library", "'basic_archive'", "''"),
        Change(7, "recovery_target_xid", "'7'", None),
        Change(8, "restore_command", "'cp /live/%f %p'", None),
    )
    assert mangle(mangled.text, is_standby=False).changes[2:] == ()


def test_a_standby_keeps_its_primary_but_not_what_is_set_anew():
    text = "primary_conninfo = 'host=p'\nrestore_command = 'x'\nrecovery_target = 'immediate'\n"
    kept = mangle(text, is_standby=True)
    assert [change.option for change in kept.changes] == ["recovery_target"]
    replaced = mangle(text, is_standby=True, replaces=frozenset({"restore_command"}))
    assert [change.option for change in replaced.changes] == ["restore_command", "recovery_target"]
    alone = mangle(text, is_standby=False)
    assert len(alone.changes) == 3


def test_dangerous_settings_are_reported_where_they_are_in_the_new_text():
    text = "archive_command = 'x'\ninclude 'it''s.conf'\nssl_key_file = '/etc/key'\n"
    mangled = mangle(text, is_standby=False)
    assert mangled.warnings == (Finding(3, "include", "'it''s.conf'"), Finding(4, "ssl_key_file", "'/etc/key'"))
    assert mangled.includes == (Include("include", "it's.conf"),)


@pytest.mark.parametrize("line", ["archive_command'cp %p /archive/%f'", "ARCHIVE_COMMAND='x'", "\tarchive_command 'x'"])
def test_what_postgresql_takes_for_a_setting_is_one(line):
    assert mangle(line + "\n", is_standby=False).text == f"#BARMAN#{line}\narchive_command = false\n"


def test_nothing_to_do_leaves_every_byte():
    text = "# caf\udce9 \x85 archive_command = 'x'\r\nport = 1\x0b\x0carchive_command\n\n"
    assert mangle(text, is_standby=False).text == text
    assert mangle(text, is_standby=False).changes == ()


@pytest.mark.parametrize("value", ["", "plain", "it's", "back\\slash", "'", "''", "\\'"])
def test_quoting_is_undone_by_unquoting(value):
    assert unquote(quote(value)) == value


@pytest.mark.parametrize(("text", "value"), [("on", "on"), ("'open", "open"), ("'", ""), (r"'a\'b'", "a'b")])
def test_other_spellings_mean_what_postgresql_takes_them_for(text, value):
    assert unquote(text) == value
