from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.errors import ConfigError
from barman.postgres.conninfo import (
    KEYWORDS,
    REDACTED,
    SECRET_KEYWORDS,
    Conninfo,
    mask_secrets,
    parse_conninfo,
    streaming_conninfo,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("  host=a   port = 5432 ", {"host": "a", "port": "5432"}),
        (r"options='-c a=\'b\\' user=x", {"options": "-c a='b\\", "user": "x"}),
        (r"user=a\ b", {"user": "a b"}),
        ("password=''", {"password": ""}),
        ("user=a user=b", {"user": "b"}),
        ("postgresql://", {}),
        ("postgres://u@h", {"user": "u", "host": "h"}),
        (
            "postgresql://u:p%40w@h1:1,[::1]:2/db?sslmode=require&application_name=a%20b",
            {
                "user": "u",
                "password": "p@w",
                "host": "h1,::1",
                "port": "1,2",
                "dbname": "db",
                "sslmode": "require",
                "application_name": "a b",
            },
        ),
        ("postgresql:///db?host=/run/pg&port=5", {"dbname": "db", "host": "/run/pg", "port": "5"}),
        ("postgresql://%2Frun%2Fpg/db", {"host": "/run/pg", "dbname": "db"}),
        ("postgresql://h?ssl=true", {"host": "h", "sslmode": "require"}),
        ("postgresql://u:@h", {"user": "u", "host": "h"}),
    ],
)
def test_a_connection_string_is_read_as_libpq_does(text, expected):
    assert parse_conninfo(text).reveal() == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("host", 'no "="'),
        ("host=a port", 'no "="'),
        ("host='a", "unterminated quote in the value of 'host'"),
        ("hst=a", "unknown connection parameter 'hst'"),
        ("postgresql://h?nope=1", "unknown connection parameter 'nope'"),
        ("postgresql://h?sslmode", "not of the form key=value"),
        ("postgresql://h?user=a=b", "not of the form key=value"),
        ("postgresql://[::1/db", "IPv6"),
        ("postgresql://[::1]x/db", "IPv6"),
        ("postgresql://u%zz@h", "percent-encoding"),
        ("postgresql://u%00@h", "percent-encoding"),
        ("postgresql://u%ff@h", "not UTF-8"),
    ],
)
def test_a_malformed_connection_string_is_refused(text, complaint):
    with pytest.raises(ConfigError) as caught:
        parse_conninfo(text)
    assert complaint in caught.value.message


def test_a_complaint_about_a_connection_string_does_not_repeat_values():
    for text in ("password=hunter2 'hunter2", "password='hunter2", "postgresql://u:hunter2@h?x"):
        with pytest.raises(ConfigError) as caught:
            parse_conninfo(text)
        assert "hunter2" not in str(caught.value)


@given(
    st.dictionaries(st.sampled_from(sorted(KEYWORDS - {"password"})), st.text(st.characters(exclude_characters="\0")))
)
def test_what_is_written_is_read_back(parameters):
    assert parse_conninfo(Conninfo(parameters).to_dsn()).reveal() == parameters


@given(st.dictionaries(st.sampled_from(sorted(KEYWORDS)), st.text("abc '\\=@/", min_size=1), min_size=1))
def test_no_secret_is_ever_shown(parameters):
    secrets = {f"<{value}>" for keyword, value in parameters.items() if keyword in SECRET_KEYWORDS}
    conninfo = Conninfo({k: f"<{v}>" if k in SECRET_KEYWORDS else v for k, v in parameters.items()})
    shown = [str(conninfo), repr(conninfo), conninfo.masked(), *(text for pair in conninfo.items() for text in pair)]
    shown += [conninfo.get(keyword) or "" for keyword in parameters]
    for text in shown:
        assert not any(secret in text for secret in secrets)


def test_the_string_for_a_command_line_is_sorted_and_has_no_password():
    conninfo = parse_conninfo("user=u password=hunter2 host=/run port=5432")
    assert conninfo.to_dsn() == "host=/run port=5432 user=u"
    assert conninfo.environment() == {"PGPASSWORD": "hunter2"}
    assert parse_conninfo("host=a").environment() == {}


def test_parameters_are_set_removed_and_defaulted_in_copies():
    conninfo = parse_conninfo("host=a user=u")
    assert conninfo.with_(user=None, port="5").reveal() == {"host": "a", "port": "5"}
    assert conninfo.with_defaults(user="v", dbname="d").reveal() == {"dbname": "d", "host": "a", "user": "u"}
    assert conninfo == parse_conninfo("user=u host=a")
    assert hash(conninfo) == hash(parse_conninfo("user=u host=a"))
    assert "host" in conninfo
    assert "port" not in conninfo


def test_a_dead_network_path_is_noticed_unless_configured_otherwise():
    assert parse_conninfo("tcp_user_timeout=0").with_tcp_limits().get("tcp_user_timeout") == "0"
    assert parse_conninfo("").with_tcp_limits().get("keepalives_idle") == "60"


def test_a_streaming_connection_string_replaces_what_replication_needs():
    conninfo = streaming_conninfo("host=a dbname=x options=-cwork_mem=1 application_name=y", "barman_receive_wal")
    assert conninfo.to_dsn() == (
        "application_name=barman_receive_wal dbname=replication host=a options=-cdatestyle=iso replication=true"
    )


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("password=abc host=x", "password=*REDACTED* host=x"),
        ("a password='x y\\' z' b", "a password=*REDACTED* b"),
        ("PGPASSWORD=abc\nnext line", "PGPASSWORD=*REDACTED*\nnext line"),
        ("sslpassword = abc", "sslpassword = *REDACTED*"),
        ("postgresql://u:abc@h/d", "postgresql://u:*REDACTED*@h/d"),
        ("see postgres://u:a@b@h?password=abc&x=1", "see postgres://u:*REDACTED*@h?password=*REDACTED*&x=1"),
        ("password='unterminated abc", "password=*REDACTED*"),
        ("is 'host=x password=abc', so", "is 'host=x password=*REDACTED*', so"),
        ('said "password=abc"', 'said "password=*REDACTED*"'),
        ("password=it's one", "password=*REDACTED* one"),
        ("nothing to hide", "nothing to hide"),
        ("password=*REDACTED*abc", "password=*REDACTED*"),
        ("password=", "password=*REDACTED*"),
    ],
)
def test_secrets_are_masked_in_any_text(text, masked):
    assert mask_secrets(text) == masked
    assert mask_secrets(masked) == masked


def test_a_message_is_scrubbed_of_this_connections_secrets():
    conninfo = parse_conninfo("user=barman password=hunter2 sslpassword=x host=h")
    assert conninfo.scrub("hunter2 failed (hunter22), x") == f"{REDACTED} failed (hunter22), {REDACTED}"


def test_a_password_that_equals_the_user_does_not_make_messages_unreadable():
    conninfo = parse_conninfo("user=barman password=barman")
    assert conninfo.scrub('authentication failed for user "barman"') == 'authentication failed for user "barman"'
