"""barman-wal-archive --batch: what travels together, what is remembered, and what is never believed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest

from barman.client import acknowledged, wal_archive
from tests.support.wal import HISTORY, LABEL, MIB, name_of, segment

NAMES = [name_of(number) for number in range(1, 7)]


@pytest.fixture
def pg_wal(tmp_path, monkeypatch):
    """A pg_wal directory with six segments that wait; they were written long enough ago for their times to tell."""
    monkeypatch.setattr(acknowledged, "_STEP_NS", 0)
    directory = tmp_path / "data" / "pg_wal"
    (directory / "archive_status").mkdir(parents=True)
    for name in NAMES:
        wait_for(directory, name, segment(name))
    return directory


def wait_for(directory, name, content):
    (directory / name).write_bytes(content)
    (directory / "archive_status" / f"{name}.ready").touch()
    time.sleep(0.002)


def done(directory, *names):
    for name in names:
        status = directory / "archive_status" / f"{name}.ready"
        status.rename(status.with_suffix(".done"))


def archive(site, path, *words, host="host", batch=4):
    options = ["-c", str(site.conf), "--batch", str(batch), "--spool-dir", str(site.spool), *map(str, words)]
    return wal_archive.main([*options, host, "main", str(path)])


def records(site):
    return sorted(path.name.removesuffix(".sent") for path in site.spool.iterdir())


def test_waiting_files_travel_together_and_are_acknowledged_without_a_connection(site, pg_wal):
    for name in NAMES:
        assert archive(site, pg_wal / name) == 0
        done(pg_wal, name)
    assert site.incoming() == {name: segment(name) for name in NAMES}
    assert len(site.calls()) == 2


def test_history_files_come_first_and_all_that_waits_fits_in(site, pg_wal):
    wait_for(pg_wal, "00000002.history", HISTORY.encode())
    wait_for(pg_wal, f"{NAMES[0]}.00000028.backup", LABEL.encode())
    wait_for(pg_wal, "rubbish", b"x")
    assert archive(site, pg_wal / NAMES[0], batch=3) == 0
    assert sorted(site.incoming()) == [NAMES[0], f"{NAMES[0]}.00000028.backup", "00000002.history"]
    assert archive(site, pg_wal / NAMES[1], batch=300) == 0
    assert len(site.incoming()) == 8


@pytest.mark.parametrize("option", ["-z", "--zstd", "--lz4", "--xz", "-j", "--md5"])
def test_a_batch_may_be_compressed(site, pg_wal, option):
    assert archive(site, pg_wal / NAMES[0], option, batch=6) == 0
    assert sorted(site.incoming()) == NAMES
    assert len(site.calls()) == 1
    if option != "--md5":
        assert all(len(content) < 0.8 * MIB for content in site.incoming().values())


def test_without_archive_status_or_a_batch_only_the_file_travels(site, pg_wal, tmp_path):
    assert archive(site, pg_wal / NAMES[0], batch=1) == 0
    assert not site.spool.exists()
    shutil.copy(pg_wal / NAMES[1], tmp_path / NAMES[1])
    assert archive(site, tmp_path / NAMES[1]) == 0
    assert sorted(site.incoming()) == NAMES[:2]


def rewritten(path):
    path.write_bytes(segment(path.name, filling=1))


def rewritten_with_the_old_time(path):
    status = path.stat()
    rewritten(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(segment(path.name, filling=1))
    shutil.copystat(path, other)
    other.rename(path)


def recycled(path):
    # PostgreSQL renames a segment it no longer needs, and writes the new one over it.
    path.with_name(name_of(9)).write_bytes(segment(name_of(9)))
    path.with_name(name_of(9)).rename(path)
    with path.open("r+b") as file:
        file.write(segment(path.name, filling=1))


@pytest.mark.parametrize("change", [rewritten, rewritten_with_the_old_time, replaced, recycled])
def test_a_file_that_changed_after_it_was_acknowledged_is_sent_again(site, pg_wal, change, capfd):
    assert archive(site, pg_wal / NAMES[0]) == 0
    assert archive(site, pg_wal / NAMES[1], host="host") == 0
    assert len(site.calls()) == 1
    change(pg_wal / NAMES[1])
    assert archive(site, pg_wal / NAMES[1]) == 1, "the archive has another one of this name"
    assert len(site.calls()) > 1
    assert "already there" in capfd.readouterr().err


def test_a_restored_directory_is_not_believed_to_be_sent(site, pg_wal):
    assert archive(site, pg_wal / NAMES[0]) == 0
    shutil.copytree(pg_wal, pg_wal.with_name("copy"), copy_function=shutil.copy2)
    shutil.rmtree(pg_wal)
    pg_wal.with_name("copy").rename(pg_wal)
    assert archive(site, pg_wal / NAMES[1]) == 0
    assert len(site.calls()) == 2


def test_another_destination_has_acknowledged_nothing(site, pg_wal):
    assert archive(site, pg_wal / NAMES[0]) == 0
    assert archive(site, pg_wal / NAMES[1], host="down") == 3
    assert archive(site, pg_wal / NAMES[1], "-U", "other") == 0
    assert len(site.calls()) == 3


@pytest.mark.parametrize("lie", ["", "\n", "main barman@host 1 2 3 4.0 5.0\n"], ids=["empty", "blank", "made up"])
def test_a_record_that_says_nothing_about_this_file_is_ignored(site, pg_wal, lie):
    site.spool.mkdir()
    (site.spool / f"{NAMES[0]}.sent").write_text(lie)
    assert archive(site, pg_wal / NAMES[0]) == 0
    assert NAMES[0] in site.incoming()


def test_records_of_another_user_are_not_believed(site, pg_wal, capsys):
    assert archive(site, pg_wal / NAMES[0]) == 0
    os.chown(site.spool / f"{NAMES[1]}.sent", 65534, 65534)
    assert archive(site, pg_wal / NAMES[1]) == 0
    assert len(site.calls()) == 2
    os.chown(site.spool, 65534, 65534)
    assert archive(site, pg_wal / NAMES[2], batch=3) == 0
    assert "belongs to another user" in capsys.readouterr().err


def test_a_spool_directory_that_cannot_be_made_means_one_file_at_a_time(site, pg_wal, capsys):
    site.spool = site.root / "nosuch" / "spool"
    assert archive(site, pg_wal / NAMES[0]) == 0
    assert list(site.incoming()) == NAMES[:1]
    assert "WARNING: only one WAL file is sent at a time" in capsys.readouterr().err


def test_a_file_written_in_this_instant_is_sent_and_not_remembered(site, pg_wal, monkeypatch):
    monkeypatch.setattr(acknowledged, "_STEP_NS", 10**12)
    assert archive(site, pg_wal / NAMES[0]) == 0
    assert len(site.incoming()) == 4
    assert records(site) == []


def test_records_go_when_the_files_no_longer_wait_and_other_files_stay(site, pg_wal):
    assert archive(site, pg_wal / NAMES[0]) == 0
    assert records(site) == NAMES[:4]
    for stranger in (name_of(77), "notes.sent", "notes"):
        (site.spool / stranger).touch()
    done(pg_wal, *NAMES[:4])
    assert archive(site, pg_wal / NAMES[4]) == 0
    assert records(site) == sorted([*NAMES[4:], name_of(77), "notes", "notes"])


@pytest.mark.parametrize(("host", "status"), [("down", 3), ("lost", 1), ("silent", 2)])
def test_a_transfer_that_fails_is_remembered_by_nobody(site, pg_wal, host, status):
    for name in NAMES:
        (pg_wal / name).write_bytes(bytes(8 * MIB))
    assert archive(site, pg_wal / NAMES[0], host=host) == status
    assert records(site) == []


def test_a_file_that_is_refused_holds_nobody_up_but_itself(site, pg_wal, capfd):
    (pg_wal / NAMES[2]).write_bytes(bytes(MIB))
    assert archive(site, pg_wal / NAMES[0]) == 0
    assert f"{NAMES[2]} of server 'main' is not accepted" in capfd.readouterr().err
    assert records(site) == [NAMES[0], NAMES[1], NAMES[3]]
    assert archive(site, pg_wal / NAMES[2]) == 1
    assert sorted(site.incoming()) == [*NAMES[:2], *NAMES[3:]]


def test_a_server_that_refuses_batches_gets_one_file_at_a_time(site, pg_wal, capfd):
    strict = site.root / "strict.py"
    far = (site.root / "far_barman.py").read_text()
    strict.write_text(
        "import io, sys, tarfile\ndata = sys.stdin.buffer.read()\n"
        "if len(tarfile.open(fileobj=io.BytesIO(data)).getnames()) > 2: sys.exit(1)\n"
        "sys.stdin = io.TextIOWrapper(io.BytesIO(data))\n" + far
    )
    ssh = site.root / "ssh"
    ssh.write_text(ssh.read_text().replace("far_barman.py", "strict.py"))
    assert archive(site, pg_wal / NAMES[0]) == 0
    assert list(site.incoming()) == NAMES[:1]
    assert "4 files at once were refused, " in capfd.readouterr().err


def test_a_file_that_vanishes_is_left_out_and_one_asked_for_is_an_error(site, pg_wal):
    (pg_wal / NAMES[1]).unlink()
    assert archive(site, pg_wal / NAMES[0]) == 0
    assert sorted(site.incoming()) == [NAMES[0], *NAMES[2:5]]
    assert archive(site, pg_wal / NAMES[1]) == 2


def test_the_line_for_shells_recognises_what_was_acknowledged_and_nothing_else(site, pg_wal):
    assert archive(site, pg_wal / NAMES[0]) == 0
    line = f'grep -qsxF "$(stat -c "main barman@host {site.conf} %d %i %s %.9Y %.9Z" %p)" {site.spool}/%f.sent'

    def is_sent(name):
        command = line.replace("%p", str(pg_wal / name)).replace("%f", name)
        return subprocess.run(command, shell=True, check=False, capture_output=True).returncode == 0

    assert [is_sent(name) for name in NAMES] == [True] * 4 + [False] * 2
    rewritten_with_the_old_time(pg_wal / NAMES[1])
    (pg_wal / NAMES[2]).unlink()
    assert [is_sent(name) for name in NAMES[:3]] == [True, False, False]
    (site.spool / f"{NAMES[0]}.sent").write_text("\n")
    assert not is_sent(NAMES[0])
