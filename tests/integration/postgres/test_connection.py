from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time

import pytest

from barman.errors import ConnectionFailed, PostgresError
from barman.postgres.connection import Postgres, PostgresStreaming
from barman.postgres.wal_header import check_header, parse_page_header
from tests.support.processes import children_of, wait_until

MIB = 1 << 20


@pytest.fixture
def unused_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def frozen(cluster):
    """The server and all its processes stand still, as on a hung disk; its sockets stay open."""
    pids = [cluster.pid(), *children_of(cluster.pid())]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def use_passwords(cluster, password):
    """Make the role `secretive` with this password, and have it asked for."""
    hba = cluster.data / "pg_hba.conf"
    rules = hba.read_text()
    hba.write_text(f"local all secretive scram-sha-256\nlocal replication secretive scram-sha-256\n{rules}")
    literal = password.replace("'", "''")
    cluster.sql(f"create role secretive login replication password '{literal}'; grant pg_monitor to secretive")
    cluster.reload()
    wait_until(lambda: not _connects(cluster.conninfo("secretive")), "the server asks for a password")


def _connects(conninfo):
    try:
        Postgres(conninfo).connect()
    except ConnectionFailed:
        return False
    return True


@pytest.mark.pg
def test_the_facts_are_the_servers(cluster, installation):
    location = cluster.tablespace("other")
    cluster.configure(archive_timeout="7min", synchronous_standby_names="FIRST 1 (a, b)")
    cluster.reload()
    wait_until(lambda: cluster.value("show archive_timeout") == "7min", "the configuration is read again")
    with Postgres(cluster.conninfo()) as postgres:
        facts = postgres.facts()
        assert facts.version_num // 10000 == installation.major
        assert facts.system_identifier == cluster.system_identifier()
        assert (facts.in_recovery, facts.timeline, facts.segment_size) == (False, 1, 16 * MIB)
        assert facts.data_directory == str(cluster.data)
        assert facts.config_file == str(cluster.data / "postgresql.conf")
        assert facts.hba_file == str(cluster.data / "pg_hba.conf")
        assert facts.setting("archive_timeout") == "420"
        assert facts.synchronous_standby_names == ("a", "b")
        assert facts.data_checksums == "on"
        assert facts.summarize_wal == ("on" if installation.major >= 17 else None)
        assert [(one.name, one.location) for one in facts.tablespaces] == [("other", str(location))]
        assert facts.current_wal_name == cluster.current_wal()
        assert (facts.is_superuser, facts.has_backup_privileges, facts.has_monitoring_privileges) == (False, True, True)
        assert facts.has_checkpoint_privileges is (installation.major >= 15)
        assert abs((postgres.server_time() - facts.server_time).total_seconds()) < 60
        assert postgres.server_time().tzinfo is not None
        assert postgres.cluster_size() > MIB


@pytest.mark.pg
def test_a_role_without_privileges_sees_less_and_nothing_fails(cluster):
    cluster.sql("create role lowly login")
    with Postgres(cluster.conninfo("lowly")) as postgres:
        facts = postgres.facts()
        assert facts.system_identifier == cluster.system_identifier()
        assert facts.data_directory is None
        assert not facts.is_superuser
        assert not facts.has_backup_privileges
        assert not facts.has_monitoring_privileges
        assert not facts.has_checkpoint_privileges
        assert postgres.cluster_size() is None
        assert postgres.replication_clients() == []
        with pytest.raises(PostgresError, match="permission denied") as caught:
            postgres.switch_wal()
        assert caught.value.sqlstate == "42501"
        assert not isinstance(caught.value, ConnectionFailed)


def test_a_superuser_may_do_everything(cluster):
    with Postgres(cluster.conninfo("postgres")) as postgres:
        facts = postgres.facts()
        assert facts.is_superuser
        assert facts.has_backup_privileges
        assert facts.has_monitoring_privileges
        assert facts.has_checkpoint_privileges
        postgres.checkpoint()


def test_the_two_roles_that_make_up_pg_monitor_are_enough(cluster):
    cluster.sql(
        "create role parts login; grant pg_read_all_settings, pg_read_all_stats to parts;"
        "create role half login; grant pg_read_all_settings to half;"
        "create role stingy login noinherit; grant pg_monitor to stingy"
    )
    found = {}
    for role in ("parts", "half", "stingy"):
        with Postgres(cluster.conninfo(role)) as postgres:
            found[role] = postgres.facts().has_monitoring_privileges
    assert found == {"parts": True, "half": False, "stingy": False}


@pytest.mark.pg
def test_a_switch_names_the_segment_it_closed(cluster):
    with Postgres(cluster.conninfo()) as postgres:
        for _ in range(3):
            postgres.create_restore_point("something to write")
            current = cluster.current_wal()
            assert postgres.switch_wal().closed == current
            assert postgres.switch_wal().closed is None
            assert postgres.facts().current_wal_name == current


@pytest.mark.parametrize("segment_size", [MIB, 64 * MIB])
def test_segments_of_other_sizes_are_named_rightly(clusters, installation, segment_size):
    cluster = clusters.make(installation, segment_size=segment_size)
    with Postgres(cluster.conninfo()) as postgres:
        assert postgres.facts().segment_size == segment_size
        for _ in range(2):
            postgres.create_restore_point("something to write")
            current = cluster.current_wal()
            assert postgres.switch_wal().closed == current


@pytest.mark.pg
def test_the_header_of_a_real_segment_is_as_it_should_be(cluster, installation):
    segment = cluster.switch_wal()
    header = parse_page_header((cluster.data / "pg_wal" / segment).read_bytes()[:8192])
    assert header.version == str(installation.major)
    system_id = cluster.system_identifier()
    assert check_header(header, name=segment, segment_size=16 * MIB, system_id=system_id) is None
    assert "another cluster" in (check_header(header, name=segment, system_id="1") or "")


@pytest.mark.pg
def test_slots_are_made_found_and_dropped(cluster):
    with PostgresStreaming(cluster.streaming_conninfo()) as streaming, Postgres(cluster.conninfo()) as postgres:
        assert postgres.slot("barman") is None
        streaming.create_slot("barman")
        slot = postgres.slot("barman")
        assert slot is not None
        assert (slot.name, slot.active, slot.restart_lsn) == ("barman", False, None)
        with pytest.raises(PostgresError, match="already exists") as caught:
            streaming.create_slot("barman")
        assert caught.value.sqlstate == "42710"
        streaming.drop_slot("barman")
        with pytest.raises(PostgresError, match="does not exist") as caught:
            streaming.drop_slot("barman")
        assert caught.value.sqlstate == "42704"


@pytest.mark.pg
def test_both_kinds_of_connection_name_the_same_cluster(cluster):
    with PostgresStreaming(cluster.streaming_conninfo()) as streaming, Postgres(cluster.conninfo()) as postgres:
        identity = streaming.identify_system()
        assert identity.system_identifier == postgres.facts().system_identifier
        assert identity.timeline == 1
        assert streaming.version_num == postgres.version_num


@pytest.mark.pg
def test_a_standby_tells_what_it_follows_and_what_it_replayed(clusters, cluster):
    standby = clusters.standby_of(cluster)
    cluster.load(10)
    target = cluster.lsn()
    with Postgres(standby.conninfo()) as postgres, Postgres(cluster.conninfo()) as primary:
        wait_until(lambda: standby.value(f"select pg_last_wal_replay_lsn() >= '{target}'"), "the standby has caught up")
        facts = postgres.facts()
        assert (facts.in_recovery, facts.timeline, facts.current_wal_name) == (True, 1, None)
        assert facts.current_lsn is not None
        assert postgres.is_in_recovery()
        assert facts.system_identifier == primary.facts().system_identifier
        [client] = primary.replication_clients()
        assert (client.kind, client.state) == ("standby", "streaming")
        with pytest.raises(PostgresError, match="recovery is in progress"):
            postgres.switch_wal()
        standby.promote()
        wait_until(lambda: postgres.facts().timeline == 2, "the new timeline")
        assert not postgres.is_in_recovery()


def test_what_the_archiver_did_is_told(cluster):
    cluster.archive_with("false")
    with Postgres(cluster.conninfo()) as postgres:
        assert postgres.archiver_stats().is_archiving
        cluster.switch_wal()
        wait_until(lambda: not postgres.archiver_stats().is_archiving, "a failure is counted")
        stats = postgres.archiver_stats()
        assert stats.failed_count > 0
        assert stats.last_failed_wal is not None
        assert stats.last_failed_time is not None
        assert postgres.facts().archive_command == "false"


def test_roles_own_settings_do_not_disturb(cluster):
    cluster.sql(
        "alter role barman set datestyle to 'SQL, DMY';"
        "alter role barman set timezone to 'Asia/Kathmandu';"
        "alter role barman set search_path to trap, pg_catalog;"
        "create schema trap authorization barman;"
        "create function trap.pg_is_in_recovery() returns bool language sql as 'select true';"
    )
    with Postgres(cluster.conninfo()) as postgres:
        facts = postgres.facts()
        assert not facts.in_recovery
        assert facts.server_time.utcoffset() is not None
        assert facts.server_time.utcoffset().total_seconds() == 0


# -- limits


@pytest.mark.pg
def test_a_statement_that_takes_too_long_is_cancelled_by_the_server(cluster):
    with Postgres(cluster.conninfo("postgres"), statement_timeout_s=0.3) as postgres:
        with cluster.connect() as session, session.transaction():
            session.execute("lock table pg_tablespace in access exclusive mode")
            with pytest.raises(PostgresError, match="statement timeout") as caught:
                postgres.facts()
        assert caught.value.sqlstate == "57014"
        assert not postgres.is_in_recovery(), "the session goes on"


@pytest.mark.pg
def test_a_frozen_server_fails_a_query_within_its_limit(cluster):
    with Postgres(cluster.conninfo(), statement_timeout_s=0.5) as postgres:
        postgres.facts()
        with frozen(cluster):
            began = time.monotonic()
            with pytest.raises(ConnectionFailed, match=r"did not answer within 0\.5 seconds"):
                postgres.facts()
            assert time.monotonic() - began < 10
        assert not postgres.is_connected


@pytest.mark.pg
@pytest.mark.parametrize("kind", [Postgres, PostgresStreaming])
def test_a_frozen_server_fails_a_connection_within_its_limit(cluster, kind):
    conninfo = cluster.conninfo() if kind is Postgres else cluster.streaming_conninfo()
    with frozen(cluster):
        began = time.monotonic()
        with pytest.raises(ConnectionFailed, match="no answer within 2 seconds") as caught:
            kind(conninfo, connect_timeout_s=2).connect()
        assert time.monotonic() - began < 10
    assert str(cluster.directory) in caught.value.message, "the message says where"


def test_a_frozen_server_fails_a_replication_command_within_its_limit(cluster):
    with PostgresStreaming(cluster.streaming_conninfo(), statement_timeout_s=0.5) as streaming:
        streaming.identify_system()
        with frozen(cluster), pytest.raises(ConnectionFailed, match="did not answer"):
            streaming.identify_system()


def test_a_connection_to_a_frozen_server_over_tcp_is_limited_too(clusters, installation, unused_port):
    cluster = clusters.make(installation, start=False)
    cluster.start(listen_addresses="127.0.0.1", port=unused_port)
    conninfo = f"host=127.0.0.1 port={unused_port} user=barman dbname=postgres"
    with frozen(cluster):
        began = time.monotonic()
        with pytest.raises(ConnectionFailed, match="no answer within 2 seconds"):
            Postgres(conninfo, connect_timeout_s=2).connect()
        assert time.monotonic() - began < 10


def test_an_interrupt_ends_a_query_of_a_frozen_server_at_once(cluster):
    with Postgres(cluster.conninfo()) as postgres, frozen(cluster):
        timer = threading.Timer(0.5, lambda: signal.raise_signal(signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            postgres.facts()
        assert time.monotonic() - began < 5
        timer.join()


def test_a_server_that_dies_fails_the_next_query(cluster):
    with Postgres(cluster.conninfo()) as postgres:
        cluster.crash()
        with pytest.raises(ConnectionFailed):
            postgres.facts()


def test_a_server_that_shuts_down_ends_the_connection(cluster):
    with Postgres(cluster.conninfo()) as postgres:
        cluster.stop()
        with pytest.raises(ConnectionFailed, match=r"terminating connection|closed") as caught:
            postgres.facts()
        assert "\n" not in caught.value.message


def test_a_server_that_is_down_is_told_with_a_hint(cluster):
    cluster.stop()
    with pytest.raises(
        ConnectionFailed, match="cannot connect to PostgreSQL: connection to server on socket"
    ) as caught:
        Postgres(cluster.conninfo()).connect()
    assert "running" in (caught.value.hint or "")
    assert "\n" not in caught.value.message


def test_a_closed_connection_cannot_be_used(cluster):
    postgres = Postgres(cluster.conninfo())
    with pytest.raises(ConnectionFailed, match="not connected"):
        postgres.facts()
    with postgres:
        assert postgres.is_connected
    postgres.close()
    assert not postgres.is_connected


# -- secrets


@pytest.mark.pg
def test_no_message_of_a_refused_connection_holds_the_password(cluster):
    use_passwords(cluster, "right")
    for conninfo in (
        cluster.conninfo("secretive") + " password=wr0ng-one",
        f"postgresql://secretive:wr0ng-one@/postgres?host={cluster.directory}",
    ):
        for kind in (Postgres, PostgresStreaming):
            with pytest.raises(ConnectionFailed, match="password authentication failed") as caught:
                kind(conninfo).connect()
            assert "wr0ng-one" not in f"{caught.value.message} {caught.value.hint} {caught.value!r}"
            assert caught.value.__cause__ is None


def test_the_right_password_connects(cluster):
    use_passwords(cluster, "it's a \\ secret")
    conninfo = cluster.conninfo("secretive") + r" password='it\'s a \\ secret'"
    with Postgres(conninfo) as postgres, PostgresStreaming(conninfo) as streaming:
        assert postgres.facts().system_identifier == streaming.identify_system().system_identifier
        assert "secret'" not in repr(postgres.conninfo)
