import pytest

from barman.errors import CommandError
from barman.host.rsync import Complaints
from barman.host.rsync_watch import Listener, Silence, comparing_limit_s


class _Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return _Clock()


@pytest.fixture
def silence(clock):
    return Silence(60, what="cannot copy", clock=clock)


def _wait(clock, silence, seconds):
    for _ in range(seconds):
        clock.now += 1
        silence.tick()


def test_silence_is_borne_up_to_its_limit(clock, silence):
    _wait(clock, silence, 59)
    with pytest.raises(CommandError, match="cannot copy: nothing has moved for 1 minute"):
        _wait(clock, silence, 1)


def test_silence_begins_anew_when_something_moves(clock, silence):
    _wait(clock, silence, 59)
    silence.broken()
    _wait(clock, silence, 59)


def test_a_pause_of_our_own_is_not_the_other_side_s_silence(clock, silence):
    clock.now += 3600
    silence.tick()
    _wait(clock, silence, 30)


def test_what_compares_may_be_silent_as_long_as_reading_takes():
    assert comparing_limit_s(600, 0) == 600
    assert comparing_limit_s(600, 4 << 30) == 600 + 1024


class _Ears:
    """A listener, and what it passes on."""

    def __init__(self, directory, silence):
        self.target, self.scratch = directory / "target", directory / "scratch"
        self.target.mkdir()
        self.scratch.mkdir()
        self.bytes, self.files, self.complaints = [], [], Complaints()
        self.listener = Listener(
            self.target, self.scratch, self.complaints, self.bytes.append, on_file=self.files.append, silence=silence
        )


@pytest.fixture
def ears(tmp_path, silence):
    return _Ears(tmp_path, silence)


def test_a_file_is_told_of_when_the_next_one_is_or_all_are_there(ears):
    ears.listener.take("==0 10 a")
    assert ears.files == []
    ears.listener.take("==0 20 b")
    assert ears.files == ["a"]
    ears.listener.finish()
    ears.listener.finish()
    assert (ears.files, ears.bytes) == (["a", "b"], [10, 20])


def test_what_there_is_of_a_file_counts_once(ears):
    (ears.scratch / ".a.x").write_bytes(bytes(7))
    ears.listener.tick()
    ears.listener.tick()
    (ears.scratch / ".a.x").unlink()
    ears.listener.take("==0 10 a")
    assert ears.bytes == [7, 3]


@pytest.mark.parametrize("how", ["a file that grows", "a file that is whole", "a complaint"])
def test_everything_that_moves_breaks_the_silence(ears, clock, silence, how):
    _wait(clock, silence, 59)
    if how == "a file that grows":
        (ears.scratch / ".a.x").write_bytes(b"x")
        ears.listener.tick()
    else:
        ears.listener.take("==0 10 a" if how == "a file that is whole" else "rsync: something is wrong")
    clock.now += 2
    ears.listener.tick()


def test_a_file_that_does_not_grow_is_silence(ears, clock, silence):
    (ears.scratch / ".a.x").write_bytes(b"x")
    ears.listener.tick()
    _wait(clock, silence, 59)
    clock.now += 1
    with pytest.raises(CommandError):
        ears.listener.tick()
