"""How rsync is called and understood."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from barman.host.rsync import (
    Complaints,
    Entry,
    Source,
    copy_argv,
    list_argv,
    parse_copied,
    parse_entry,
    pattern_of,
    push_argv,
)

needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")

UNREADABLE = 'rsync: [sender] send_files failed to open "/pg/base/1/2": Permission denied (13)'
END = (
    "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1394) [sender=3.5.0]"
)


def _lines(argv, names=None):
    env = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    done = subprocess.run(argv, input=names, capture_output=True, check=False, env=env)
    return done.returncode, [os.fsdecode(line) for line in (done.stdout + done.stderr).splitlines()]


@needs_rsync
def test_every_name_mode_size_and_time_is_listed_as_it_is(tmp_path):
    names = ["a b", "new\nline", "é", "back\\#041slash", "sub/deep", b"\xff\xfe"]
    for number, name in enumerate(names):
        path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x" * number)
        os.utime(path, ns=(0, (1_700_000_000 + number) * 1_000_000_000 + 999))
        os.chmod(path, 0o600 | number)
    os.mkfifo(tmp_path / "fifo")
    _, lines = _lines(list_argv(Source(str(tmp_path), None), []))
    found = {entry.name: entry for entry in map(parse_entry, lines) if entry is not None}
    files = {name: entry for name, entry in found.items() if not entry.is_directory}
    assert files == {
        os.fsdecode(name): Entry(os.fsdecode(name), number, 1_700_000_000 + number, 0o600 | number, is_directory=False)
        for number, name in enumerate(names)
    }
    assert {name for name, entry in found.items() if entry.is_directory} == {".", "sub"}


@needs_rsync
def test_a_copy_never_writes_into_a_file_that_is_there(tmp_path):
    source, target, scratch = (tmp_path / name for name in ("source", "target", "scratch"))
    for directory in (source, target, scratch):
        directory.mkdir()
    (source / "one").write_text("new content")
    (target / "one").write_text("old")
    os.link(target / "one", tmp_path / "elsewhere")
    status, lines = _lines(copy_argv(Source(str(source), None), str(target), scratch=str(scratch)), b"one\0missing\0")
    assert status == 0
    assert [parse_copied(line) for line in lines] == [(11, "one")]
    assert (target / "one").read_text() == "new content"
    assert (tmp_path / "elsewhere").read_text() == "old"


@needs_rsync
@pytest.mark.parametrize("link", [True, False])
def test_contents_decide_where_sizes_and_times_are_equal(link, tmp_path):
    source, target, basis, scratch = (tmp_path / name for name in ("source", "target", "basis", "scratch"))
    for directory in (source, target, basis, scratch):
        directory.mkdir()
    for name, before, now in (("same", "abc", "abc"), ("changed", "abc", "xyz")):
        (basis / name).write_text(before)
        (source / name).write_text(now)
        for path in (basis / name, source / name):
            os.utime(path, (1_700_000_000, 1_700_000_000))
    argv = copy_argv(
        Source(str(source), None), str(target), scratch=str(scratch), basis=str(basis), compare=True, link=link
    )
    status, _ = _lines(argv, b"same\0changed\0")
    assert status == 0
    assert (target / "same").samefile(basis / "same") is link
    assert (target / "changed").read_text() == "xyz"
    assert (basis / "changed").read_text() == "abc"


def test_another_host_stands_in_the_shell_and_not_in_the_path():
    source = Source("/pg data", "ssh -p 22 me@there")
    argv = copy_argv(source, "/to", scratch="/to/x", bandwidth_kib_s=100, compress=True)
    assert argv[-2:] == [":/pg data/", "/to/"]
    assert {"--rsh=ssh -p 22 me@there", "--bwlimit=100", "--compress"} <= set(argv)


@pytest.mark.parametrize(
    ("path", "pattern"), [("/plain\\x", "/plain\\x"), ("/a*[b]?\\", "/a\\*\\[b]\\?\\\\")], ids=["plain", "wild"]
)
def test_a_path_is_a_pattern_for_itself_only(path, pattern):
    assert pattern_of(path) == pattern


@pytest.mark.parametrize(
    ("status", "lines", "harmless", "again"),
    [
        pytest.param(0, [], True, False, id="well"),
        pytest.param(24, ['file has vanished: "/pg/x"'], True, False, id="vanished"),
        pytest.param(
            23, ['rsync: [sender] link_stat "/pg/x" failed: No such file or directory (2)', END], True, False, id="gone"
        ),
        pytest.param(
            23, ['rsync: [sender] read errors mapping "/pg/x": No data available (61)', END], False, True, id="shrunk"
        ),
        pytest.param(23, ["ERROR: x failed verification -- update discarded.", END], False, True, id="changed"),
        pytest.param(23, ['symlink has no referent: "/pg/log"', END], True, False, id="dangling"),
        pytest.param(23, [UNREADABLE, END], False, False, id="unreadable"),
        pytest.param(12, ["rsync: connection unexpectedly closed (0 bytes received so far)"], False, False, id="cut"),
        pytest.param(-9, [], False, False, id="killed"),
    ],
)
def test_what_rsync_says_is_judged(status, lines, harmless, again):
    complaints = Complaints()
    for line in lines:
        complaints.take(line)
    assert complaints.is_harmless(status) is harmless
    assert complaints.is_worth_repeating(status) is again


def test_the_reason_is_the_first_thing_that_went_wrong():
    complaints = Complaints()
    for line in ("Warning: Permanently added 'x' to the list of known hosts.", UNREADABLE, "and more", END):
        complaints.take(line)
    assert complaints.reason(23) == UNREADABLE.removeprefix("rsync: ") + " (rsync ended with exit status 23)"
    assert Complaints().reason(-9) == "rsync was ended by signal 9"


def test_however_many_files_vanish_little_is_remembered():
    complaints = Complaints()
    for number in range(10_000):
        complaints.take(f'file has vanished: "/pg/{number}"')
        complaints.take(f"something else {number}")
    assert complaints.vanished == 10_000
    assert complaints.error == "something else 0"


@needs_rsync
def test_what_is_sent_has_its_modes_times_and_links(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    target.mkdir()
    (source / "sub" / "one").write_text("content")
    (source / "sub" / "one").chmod(0o640)
    os.utime(source / "sub" / "one", (0, 1_700_000_000))
    (source / "link").symlink_to("/nowhere")
    (source / "not named").touch()
    (source / "sub").chmod(0o550)

    status, lines = _lines(push_argv(str(source), Source(str(target), None), whole=True), b"sub\0link\0sub/one\0")

    assert (status, sum(copied.size for line in lines if (copied := parse_copied(line))) >= 7) == (0, True)
    assert sorted(path.name for path in target.rglob("*")) == ["link", "one", "sub"]
    assert (target / "sub").stat().st_mode & 0o777 == 0o750
    found = (target / "sub" / "one").stat()
    assert (found.st_mode & 0o777, found.st_mtime) == (0o640, 1_700_000_000)
    assert os.readlink(target / "link") == "/nowhere"


@needs_rsync
@pytest.mark.parametrize("compare", [False, True])
def test_a_file_of_equal_size_and_time_is_sent_only_after_comparing(compare, tmp_path):
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one").write_text(name)
        os.utime(tmp_path / name / "one", (0, 1_700_000_000))

    argv = push_argv(str(tmp_path / "source"), Source(str(tmp_path / "target"), None), whole=False, compare=compare)
    status, _ = _lines(argv, b"one\0")

    assert status == 0
    assert (tmp_path / "target" / "one").read_text() == ("source" if compare else "target")
