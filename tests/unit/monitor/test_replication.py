from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from barman.monitor.replication import judge_clients
from barman.postgres.facts import ReplicationClient

HERE = "0/16000060"
BEHIND = "0/16000000"
STREAMER = ReplicationClient(
    pid=17743,
    user="streaming_barman",
    application_name="barman_receive_wal",
    client_addr=None,
    client_hostname=None,
    client_port=-1,
    backend_start=datetime(2026, 11, 21, tzinfo=timezone.utc),
    backend_xmin=None,
    state="streaming",
    sent_lsn=HERE,
    write_lsn=HERE,
    flush_lsn=BEHIND,
    replay_lsn=None,
    sync_priority=0,
    sync_state="async",
    slot_name="barman",
)
STANDBY = replace(STREAMER, replay_lsn=HERE, flush_lsn=HERE)


def stage(client, **positions):
    return judge_clients([replace(client, **positions)], HERE).clients[0].stage


def test_positions_are_compared_with_the_servers():
    [entry] = judge_clients([STREAMER], HERE).clients
    assert {name: position.diff_bytes for name, position in entry.positions.items()} == {
        "sent": 0,
        "write": 0,
        "flush": -96,
    }


def test_without_a_position_of_the_server_nothing_is_compared():
    [entry] = judge_clients([STREAMER], None).clients
    assert all(position.diff_bytes is None for position in entry.positions.values())


@pytest.mark.parametrize(
    ("client", "positions", "expected"),
    [
        (STANDBY, {}, "5/5 Hot standby (max)"),
        (STANDBY, {"replay_lsn": BEHIND}, "4/5 2-safe"),
        (STANDBY, {"replay_lsn": BEHIND, "flush_lsn": BEHIND}, "3/5 Remote write"),
        (STANDBY, {"replay_lsn": BEHIND, "flush_lsn": BEHIND, "write_lsn": BEHIND}, "2/5 WAL Sent (min)"),
        (STREAMER, {}, "3/3 Remote write"),
        (STREAMER, {"write_lsn": BEHIND}, "2/3 WAL Sent (min)"),
        (STREAMER, {"write_lsn": BEHIND, "sent_lsn": BEHIND}, "1/3 1-safe"),
        (STREAMER, {"write_lsn": "0/16000070"}, "3/3 Remote write"),
    ],
)
def test_the_stage_is_the_farthest_step_that_has_everything(client, positions, expected):
    assert stage(client, **positions) == expected


@pytest.mark.parametrize(
    ("client", "heading"),
    [
        (STREAMER, "Async WAL streamer"),
        (STANDBY, "Async standby"),
        (replace(STANDBY, sync_priority=1, sync_state="sync"), "#1 Sync standby"),
        (replace(STREAMER, sync_priority=2, sync_state="potential"), "#2 Potential WAL streamer"),
    ],
)
def test_the_heading_says_what_kind_of_client_it_is(client, heading):
    assert judge_clients([client], HERE).clients[0].heading == heading


@pytest.mark.parametrize(
    ("target", "kinds"),
    [("all", ["wal-streamer", "standby"]), ("hot-standby", ["standby"]), ("wal-streamer", ["wal-streamer"])],
)
def test_only_clients_of_the_wanted_kind_are_shown(target, kinds):
    status = judge_clients([STREAMER, STANDBY], HERE, target=target)
    assert [entry.client.kind for entry in status.clients] == kinds
