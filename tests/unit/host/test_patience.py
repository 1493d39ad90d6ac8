"""A limit for waiting: what no longer moves is ended, what moves is not."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from barman.host.patience import Patience


class GaveUpError(Exception):
    pass


@pytest.fixture
def silent_pipe():
    reader, writer = os.pipe()
    yield reader
    os.close(reader)
    os.close(writer)


def test_a_read_that_never_ends_is_ended_with_the_error(silent_pipe):
    with pytest.raises(GaveUpError), Patience(1, GaveUpError):
        os.read(silent_pipe, 1)


def test_afterwards_the_signal_and_its_timer_are_as_they_were():
    handler, timer = signal.signal(signal.SIGALRM, signal.SIG_IGN), signal.setitimer(signal.ITIMER_REAL, 5000)
    try:
        with Patience(1000, GaveUpError) as limit:
            limit.renew()
            assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000
        assert 1000 < signal.getitimer(signal.ITIMER_REAL)[0] <= 5000
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_IGN
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


def test_another_thread_has_no_limit():
    before = signal.getsignal(signal.SIGALRM)
    seen = []

    def work():
        with Patience(1000, GaveUpError) as limit:
            limit.renew()
            seen.append(signal.getsignal(signal.SIGALRM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
