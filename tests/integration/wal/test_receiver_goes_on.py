"""What archive-wal leaves in the streaming directory is enough for pg_receivewal to go on without a gap."""

from __future__ import annotations

import pytest

from barman.postgres.wal_names import next_segment
from tests.support.archiving import errors, left, listed
from tests.support.processes import wait_until
from tests.support.wal import MIB


@pytest.mark.pg
def test_after_all_complete_segments_were_archived_the_receiver_goes_on_with_the_next(cluster, home):
    server = home.streaming(cluster)
    server.start_streaming(cluster)
    first = server.close_and_archive(cluster)
    server.run("receive-wal", "--stop")
    wait_until(lambda: not home.receivers(), "the receiver has ended")
    # As when it ended exactly between two segments.
    for partial in server.streaming.glob("*.partial"):
        partial.unlink()
    (server.streaming / first).write_bytes((server.wals / first[:16] / first).read_bytes())
    (server.streaming / first).chmod(0o644)
    server.run("archive-wal")
    assert left(server.streaming) == [first]
    for _ in range(3):
        last = cluster.switch_wal()
    server.start_streaming(cluster)
    server.archive_up_to(last)
    expected = [first]
    while expected[-1] != last:
        expected.append(next_segment(expected[-1], 16 * MIB))
    assert [name for name in sorted(listed(server)) if name >= first] == expected
    assert not (server.streaming / first).exists()
    assert errors(server) == {}
