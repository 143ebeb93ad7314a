"""Log files: whole lines, and nothing that happens to the file stops the server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from demijohn.server.log import LogFile
from demijohn.server.settings import SettingError


def test_lines_are_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    LogFile(str(path), standard=2).write_line("after")
    assert path.read_text() == "before\nafter\n"


def test_a_line_that_utf_8_cannot_say_is_written_with_escapes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    LogFile(str(path), standard=2).write_line("a\udcffb")
    assert path.read_text() == "a\\udcffb\n"


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path), standard=2)
    file.write_line("one")
    path.rename(tmp_path / "log.1")
    file.write_line("two")
    file.reopen()
    file.write_line("three")
    assert ((tmp_path / "log.1").read_text(), path.read_text()) == ("one\ntwo\n", "three\n")


def test_a_file_that_cannot_be_begun_anew_goes_on_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    file = LogFile(str(tmp_path / "logs" / "log"), standard=2)
    (tmp_path / "logs").rename(tmp_path / "old")
    file.reopen()
    file.write_line("still here")
    assert (tmp_path / "old" / "log").read_text() == "still here\n"


def test_lost_lines_are_counted_and_told_with_the_next_that_is_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile("/dev/full", standard=2)
    file.write_line("one")
    file.write_line("two")
    good = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(good, file.fd, inheritable=False)  # there is room again
    os.close(good)
    file.write_line("three")
    file.write_line("four")
    assert path.read_text() == "(2 log lines before this one were lost: No space left on device)\nthree\nfour\n"


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"The log file {tmp_path} cannot be opened: Is a directory"):
        LogFile(str(tmp_path), standard=2)
