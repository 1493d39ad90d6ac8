from __future__ import annotations

import json
import os
import signal

import pytest

from barman.postgres.connection import PostgresStreaming
from tests.support.processes import children_of, is_alive, wait_until

STREAMING = "select count(*) from pg_stat_replication where state = 'streaming' and application_name ~ 'receive_wal'"


@pytest.fixture
def receiver(home, cluster):
    """Starts receive-wal of a server and waits until it streams; what still runs in the end is killed."""
    started = []

    def start(server, *, streams=True):
        process = home.start("receive-wal", server.name)
        started.append(process)
        if streams:
            wait_until(lambda: cluster.value(STREAMING) == 1 or process.poll() is not None, "WAL is being streamed")
            assert process.poll() is None, process.communicate()
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def end(process, number):
    """Send the signal and return exit status and everything said."""
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, (out + err).decode()


def received(server, segment):
    path = server.streaming / segment
    return path.exists() and path.stat().st_size > 0


@pytest.mark.pg
def test_wal_is_received_from_the_first_segment_on(home, cluster, receiver):
    server = home.streaming(cluster)
    process = receiver(server)
    segment = cluster.switch_wal()
    wait_until(lambda: received(server, segment), "the closed segment")
    assert (server.streaming / segment).read_bytes() == (cluster.data / "pg_wal" / segment).read_bytes()
    identity = json.loads((server.directory / "identity.json").read_text())
    assert identity == {"systemid": cluster.system_identifier(), "version": str(cluster.major)}
    status, said = end(process, signal.SIGINT)
    assert status == 0
    assert "main: pg_receivewal: finished segment at" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_a_clean_end(home, cluster, receiver, number):
    process = receiver(home.streaming(cluster))
    [child] = children_of(process.pid)
    status, said = end(process, number)
    assert status == 0, said
    assert "Traceback" not in said
    assert "ERROR" not in said
    assert "Stopped receiving WAL of server main" in said
    assert not is_alive(child)


def test_pg_receivewal_ends_when_its_parent_is_killed_and_receiving_goes_on_afterwards(home, cluster, receiver):
    server = home.streaming(cluster)
    process = receiver(server)
    first = cluster.switch_wal()
    wait_until(lambda: received(server, first), "the closed segment")
    [child] = children_of(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: not is_alive(child), "pg_receivewal is gone too")
    while_nobody_listens = cluster.switch_wal()
    receiver(server)
    wait_until(lambda: received(server, while_nobody_listens), "what was written meanwhile")


def test_only_one_process_receives(home, cluster, receiver):
    server = home.streaming(cluster)
    process = receiver(server)
    result = server.run("receive-wal", check=False)
    assert result.status == 1
    assert result.stderr.startswith("ERROR: another process is already receiving WAL of server main")
    assert str(process.pid) in result.stderr
    assert process.poll() is None


def test_it_is_stopped_by_command(home, cluster, receiver):
    server = home.streaming(cluster)
    process = receiver(server)
    result = server.run("receive-wal", "--stop")
    assert result.stdout == f"Stopped process receive-wal({process.pid})\n"
    assert process.wait(timeout=10) == 0
    result = server.run("receive-wal", "--stop", check=False)
    assert (result.status, result.stderr) == (1, "ERROR: no receive-wal process is running for server main\n")


def test_the_end_of_the_server_is_an_error(home, cluster, receiver):
    process = receiver(home.streaming(cluster))
    cluster.stop("immediate")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"ERROR: pg_receivewal of server main ended by itself: " in err, out + err
    assert b"Traceback" not in err


# -- what it refuses


def test_another_cluster_is_refused(home, clusters, installation, receiver):
    one = clusters.make(installation, "one")
    server = home.streaming(one)
    process = home.start("receive-wal", "main")
    wait_until((server.directory / "identity.json").exists, "the cluster is remembered")
    wait_until(lambda: one.value(STREAMING) == 1, "WAL is being streamed")
    assert end(process, signal.SIGINT)[0] == 0
    other = clusters.make(installation, "other", fresh=True)
    server.set(conninfo=other.conninfo(), streaming_conninfo=other.streaming_conninfo())
    result = server.run("receive-wal", check=False)
    assert result.status == 1
    assert "this is another cluster than before" in result.stderr
    assert one.system_identifier() in result.stderr
    assert other.system_identifier() in result.stderr


def test_connections_to_two_different_clusters_are_refused(home, clusters, installation):
    one = clusters.make(installation, "one")
    other = clusters.make(installation, "other", fresh=True)
    server = home.streaming(one, streaming_conninfo=other.streaming_conninfo())
    result = server.run("receive-wal", check=False)
    assert result.status == 1
    assert "normal and streaming connection lead to different clusters" in result.stderr
    assert not (server.directory / "identity.json").exists()


def test_a_role_without_monitoring_privileges_is_refused(home, cluster):
    cluster.sql("create role lowly login")
    server = home.streaming(cluster, conninfo=cluster.conninfo("lowly"))
    result = server.run("receive-wal", check=False)
    assert result.status == 1
    assert "no access to monitoring functions (pg_monitor)" in result.stderr


def test_it_needs_the_streaming_archiver(home, cluster):
    server = home.streaming(cluster, streaming_archiver="off", archiver="on")
    result = server.run("receive-wal", check=False)
    assert (result.status, result.stdout) == (1, "")
    assert result.stderr.startswith("ERROR: cannot receive WAL of server main: streaming_archiver is off\nHINT: ")


def test_a_server_that_is_down_is_one_error_line(home, cluster):
    server = home.streaming(cluster)
    cluster.stop()
    result = server.run("receive-wal", check=False)
    assert result.status == 1
    assert result.stderr.startswith("ERROR: cannot connect to PostgreSQL: connection to server on socket")


def test_a_missing_program_is_told_with_a_hint(home, cluster, scratch):
    home.streaming(cluster, path_prefix=scratch)
    env = home.environment(PATH=f"{home.programs}:{scratch}")
    result = home.run("receive-wal", "main", check=False, env=env)
    assert result.status == 1
    assert f"ERROR: pg_receivewal not found in path_prefix ({scratch}) or PATH" in result.stderr
    assert "HINT: " in result.stderr


# -- slots


def test_a_missing_slot_is_made_only_where_that_is_wanted(home, cluster, receiver):
    server = home.streaming(cluster, create_slot="manual")
    result = server.run("receive-wal", check=False)
    assert result.status == 1
    assert "ERROR: replication slot 'barman_main' does not exist on server main" in result.stderr
    server.set(create_slot="auto")
    receiver(server)
    assert cluster.value("select active from pg_replication_slots where slot_name = 'barman_main'")


def test_slots_are_created_and_dropped_by_command(home, cluster):
    server = home.streaming(cluster)
    assert "Replication slot 'barman_main' created" in server.run("receive-wal", "--create-slot").stdout
    again = server.run("receive-wal", "--create-slot", check=False)
    assert (again.status, again.stderr) == (1, 'ERROR: replication slot "barman_main" already exists\n')
    assert "already exists" in server.run("receive-wal", "--create-slot", "--if-not-exists").stdout
    assert "Replication slot 'barman_main' dropped" in server.run("receive-wal", "--drop-slot").stdout
    gone = server.run("receive-wal", "--drop-slot", check=False)
    assert (gone.status, gone.stderr) == (1, 'ERROR: replication slot "barman_main" does not exist\n')


def test_a_slot_in_use_cannot_be_dropped(home, cluster, receiver):
    server = home.streaming(cluster)
    receiver(server)
    result = server.run("receive-wal", "--drop-slot", check=False)
    assert result.status == 1
    assert "is active" in result.stderr


def test_a_slot_another_client_uses_is_not_taken(home, cluster, receiver, make_home):
    receiver(home.streaming(cluster))
    other = make_home("other").streaming(cluster)
    result = other.run("receive-wal", check=False)
    assert result.status == 1
    assert "replication slot 'barman_main' of server main is already in use" in result.stderr


# -- where it goes on


def test_a_partial_segment_cut_short_is_received_again(home, cluster, receiver):
    server = home.streaming(cluster)
    process = receiver(server)
    cluster.load(10)
    [partial] = wait_until(lambda: list(server.streaming.glob("*.partial")), "a partial segment")
    assert end(process, signal.SIGINT)[0] == 0
    with partial.open("r+b") as file:
        file.truncate(8192)
    process = receiver(server)
    segment = cluster.switch_wal()
    wait_until(lambda: received(server, segment), "the closed segment")
    assert (server.streaming / segment).read_bytes() == (cluster.data / "pg_wal" / segment).read_bytes()
    assert f"Emptying {partial.name}" in end(process, signal.SIGINT)[1]


def test_a_reset_gives_up_what_lies_between(home, cluster, receiver):
    server = home.streaming(cluster)
    process = receiver(server)
    first = cluster.switch_wal()
    wait_until(lambda: received(server, first), "the closed segment")
    assert end(process, signal.SIGTERM)[0] == 0
    assert "Nothing to do" in server.run("receive-wal", "--reset").stdout
    server.run("receive-wal", "--drop-slot")
    for _ in range(3):
        cluster.switch_wal()
    cluster.sql("checkpoint")
    current = cluster.current_wal()
    result = server.run("receive-wal", "--reset")
    assert f"to {current}.partial" in result.stdout
    assert "WARNING: WAL of server main from" in result.stderr
    assert "will be missing" in result.stderr
    assert [path.name for path in server.streaming.glob("*.partial")] == [f"{current}.partial"]
    receiver(server)
    assert cluster.switch_wal() == current
    wait_until(lambda: received(server, current), "receiving goes on at the current segment")


def test_a_reset_is_refused_while_receiving_and_with_wal_of_the_future(home, cluster, receiver):
    server = home.streaming(cluster)
    process = receiver(server)
    assert server.run("receive-wal", "--reset", check=False).status == 1
    assert end(process, signal.SIGINT)[0] == 0
    future = server.streaming / "0000000100000000000000F0"
    future.write_bytes(b"")
    result = server.run("receive-wal", "--reset", check=False)
    assert result.status == 1
    assert "is newer than the current WAL segment" in result.stderr
    assert future.exists()


def test_stop_and_reset_cannot_be_combined(home, cluster):
    result = home.streaming(cluster).run("receive-wal", "--stop", "--reset", check=False)
    assert (result.status, result.stderr) == (1, "ERROR: --stop and --reset cannot be combined\n")


# -- how it connects


def test_a_synchronous_receiver_lets_commits_pass(home, cluster, receiver):
    receiver(home.streaming(cluster))
    cluster.configure(synchronous_standby_names="barman_receive_wal")
    cluster.reload()
    state = "select sync_state from pg_stat_replication where application_name = 'barman_receive_wal'"
    wait_until(lambda: cluster.value(state) == "sync", "the receiver is the synchronous standby")
    home.run("receive-wal", "main", "--stop")
    process = receiver(home.streaming(cluster))
    [child] = children_of(process.pid)
    assert "--synchronous" in _command_line(child)
    cluster.sql("set statement_timeout = '20s'; create table committed (i int)")


def test_the_password_is_nowhere_to_be_seen(home, cluster, receiver):
    hba = cluster.data / "pg_hba.conf"
    hba.write_text(f"local all secretive scram-sha-256\nlocal replication secretive scram-sha-256\n{hba.read_text()}")
    cluster.sql("create role secretive login replication password 'hunter2'; grant pg_monitor to secretive")
    cluster.reload()
    secret = cluster.conninfo("secretive") + " password=hunter2"
    server = home.streaming(cluster, conninfo=secret, streaming_conninfo=secret)
    process = receiver(server)
    [child] = children_of(process.pid)
    assert "hunter2" not in _command_line(process.pid) + _command_line(child)
    status, said = end(process, signal.SIGINT)
    assert status == 0
    assert "hunter2" not in said + home.log_text()


def test_wal_may_come_from_another_node_than_backups(home, clusters, cluster, receiver):
    standby = clusters.standby_of(cluster)
    server = home.streaming(
        cluster, wal_conninfo=standby.conninfo(), wal_streaming_conninfo=standby.streaming_conninfo()
    )
    process = home.start("receive-wal", "main")
    wait_until(lambda: standby.value(STREAMING) == 1, "WAL is being streamed from the standby")
    status, said = end(process, signal.SIGINT)
    assert status == 0
    assert "using wal_conninfo as conninfo of server main" in said
    with PostgresStreaming(standby.streaming_conninfo()) as streaming:
        streaming.drop_slot("barman_main")
    assert server.streaming.exists()


def _command_line(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().decode()
