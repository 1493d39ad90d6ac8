"""Where log records go."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

import pytest

from barman import logs

FORMAT = "%(name)s %(levelname)s: %(message)s"


@pytest.fixture(autouse=True)
def _closed():
    yield
    logs.close_log()


def test_records_of_the_program_go_to_the_file_from_the_level_on(tmp_path):
    path = tmp_path / "log" / "barman.log"
    assert logs.open_log(path, level="INFO", line_format=FORMAT) is None
    logging.getLogger("barman.some").info("told")
    logging.getLogger("barman.some").debug("not told")
    logging.getLogger("somelibrary").info("not told")
    logging.getLogger("somelibrary").warning("told too")
    assert path.read_text() == "barman.some INFO: told\nsomelibrary WARNING: told too\n"


def test_a_file_that_was_rotated_is_opened_again(tmp_path):
    path = tmp_path / "barman.log"
    logs.open_log(path, level="INFO", line_format=FORMAT)
    logging.getLogger("barman").info("before")
    path.rename(tmp_path / "barman.log.1")
    logging.getLogger("barman").info("after")
    assert path.read_text() == "barman INFO: after\n"


def test_a_file_that_cannot_be_written_is_a_complaint(tmp_path):
    (tmp_path / "file").touch()
    complaint = logs.open_log(tmp_path / "file" / "barman.log", level="INFO", line_format=FORMAT)
    assert complaint is not None
    assert "cannot write the log file" in complaint


@pytest.mark.parametrize(
    ("verbose", "shown"),
    [
        (False, "barman.some WARNING: a warning\n"),
        (True, "barman.some INFO: an info\nbarman.some WARNING: a warning\n"),
    ],
)
def test_without_a_file_standard_error_gets_what_it_has_not_shown(capsys, verbose, shown):
    logs.open_log(None, level="INFO", line_format=FORMAT, verbose=verbose)
    logging.getLogger("barman.some").info("an info")
    logging.getLogger("barman.some").warning("a warning")
    logging.getLogger(logs.SHOWN).warning("shown already")
    assert capsys.readouterr().err == shown


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_log_that_cannot_be_written_is_told_once_in_one_line(capsys):
    assert logs.open_log(Path("/dev/full"), level="INFO", line_format=FORMAT) is None
    for number in range(3):
        logging.getLogger("barman.test").info("message %s", number)

    assert capsys.readouterr().err == "WARNING: cannot write the log file /dev/full: No space left on device\n"
    with contextlib.suppress(OSError):
        logs.close_log()
