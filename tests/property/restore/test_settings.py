"""Nothing that is dangerous stays in force, whatever a configuration file looks like."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from barman.restore.settings import mangle, parse_setting, quote, unquote

NAMES = st.sampled_from(
    [
        "archive_command",
        "archive_library",
        "restore_command",
        "recovery_target_xid",
        "primary_conninfo",
        "port",
        "include",
    ]
)
LINES = st.one_of(
    st.text(st.characters(exclude_characters="\n")),
    st.builds(
        lambda name, upper, gap, value, tail: f"{name.upper() if upper else name}{gap}{value}{tail}",
        NAMES,
        st.booleans(),
        st.sampled_from(["=", " = ", " ", "\t=\t"]),
        st.one_of(st.text(st.characters(exclude_characters="\n\0")).map(quote), st.sampled_from(["on", "5432", "''"])),
        st.sampled_from(["", " # comment", " "]),
    ),
)


@given(st.lists(LINES), st.booleans(), st.booleans())
def test_no_dangerous_setting_stays_in_force(lines, ends, is_standby):
    text = "\n".join(lines) + ("\n" if ends else "")
    mangled = mangle(text, is_standby=is_standby)
    settings = [parse_setting(line) for line in mangled.text.split("\n")]
    for name, value in settings:
        assert name != "recovery_target_xid"
        assert name != "archive_command" or value == "false"
        assert name != "archive_library" or value == "''"
        assert is_standby or name not in ("restore_command", "primary_conninfo")


@given(st.lists(LINES), st.booleans())
def test_what_was_there_can_be_had_back(lines, is_standby):
    text = "\n".join(lines)
    mangled = mangle(text, is_standby=is_standby)
    replacements = {
        change.line for change in mangled.changes if change.option in ("archive_command", "archive_library")
    }
    kept = [line for number, line in enumerate(mangled.text.split("\n"), start=1) if number not in replacements]
    changed = {change.line for change in mangled.changes} | {line - 1 for line in replacements}
    undone = [
        line.removeprefix("#BARMAN#") if number in changed - replacements else line
        for number, line in enumerate(mangled.text.split("\n"), start=1)
        if number not in replacements
    ]
    assert len(kept) == len(undone)
    assert "\n".join(undone).rstrip("\n") == text.rstrip("\n")


@given(st.text(st.characters(exclude_characters="\n\0")))
def test_quoting_and_unquoting_are_inverse(value):
    assert unquote(quote(value)) == value
