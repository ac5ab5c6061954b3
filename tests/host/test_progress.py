"""Progress is a bar on a terminal, and a line for each step elsewhere.

Without these tests, progress bars can fill a log file, or a full log ends the run.
"""

import io
import os
import pty
import re
import sys

import pytest

from assembler.host.progress import Progress

LINE = re.compile(r"writing( \([0-9.]+ [KM]?i?B\))? \.\.\.\r?\n")


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # whatever the tests run on


def shown_on_a_terminal(total: int | None, name: str = "writing", **options: bool) -> str:
    """What a terminal gets of a step that does half of its work."""
    master, slave = pty.openpty()
    with open(slave, "w") as stream:
        with Progress(stream=stream, **options).step(name, total=total) as step:
            step.advance((total or 0) // 2)
        stream.write("#")
    shown = b""
    while not shown.endswith(b"#"):
        shown += os.read(master, 1 << 16)
    os.close(master)
    return shown[:-1].decode()


def test_a_terminal_gets_a_bar_of_bytes() -> None:
    shown = shown_on_a_terminal(2 << 20)
    assert "writing   0% |" in shown
    assert "| 0 B of 2.0 MiB" in shown


def test_a_bar_leaves_nothing_behind() -> None:
    shown = shown_on_a_terminal(2 << 20)
    assert "\n" not in shown
    assert shown.rstrip("\r").rpartition("\r")[2].strip() == ""


def test_a_step_without_a_total_is_named_on_a_terminal() -> None:
    shown = shown_on_a_terminal(None)
    assert "writing ..." in shown
    assert shown.endswith("\r\033[K")


@pytest.mark.parametrize("total", [None, 2 << 20])
def test_a_quiet_terminal_gets_nothing(total: int | None) -> None:
    assert shown_on_a_terminal(total, quiet=True) == ""


def test_a_terminal_gets_lines_where_no_bars_are_wanted() -> None:
    assert LINE.fullmatch(shown_on_a_terminal(2 << 20, bars=False))


@pytest.mark.parametrize("total", [None, 0, 10])
def test_a_file_gets_one_line(total: int | None) -> None:
    stream = io.StringIO()
    with Progress(stream=stream).step("writing", total=total) as step:
        step.advance(5)
    assert LINE.fullmatch(stream.getvalue())


def test_a_quiet_file_gets_nothing() -> None:
    stream = io.StringIO()
    with Progress(stream=stream, quiet=True).step("writing"):
        pass
    assert stream.getvalue() == ""


def test_a_file_gets_a_bar_where_it_is_asked_for() -> None:
    stream = io.StringIO()
    with Progress(stream=stream, bars=True).step("writing", total=10) as step:
        step.advance(5)
    assert "writing  " in stream.getvalue()
    assert "\r" in stream.getvalue()


def test_steps_of_one_name_are_one_entry_in_the_summary() -> None:
    progress = Progress(quiet=True)
    for name in ("a", "a", "b"):
        with progress.step(name):
            pass
    assert list(progress.seconds) == ["a", "b"]


def test_a_step_is_named_when_it_begins_and_counted_when_it_has_ended() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    with pytest.raises(ValueError), progress.step("writing", total=10):
        assert stream.getvalue() == "writing (10 B) ...\n"
        raise ValueError
    assert progress.seconds == {}
    assert stream.getvalue() == "writing (10 B) ...\n"


@pytest.mark.parametrize("total", [None, 2 << 20])
def test_a_name_that_is_too_long_for_the_terminal(
    monkeypatch: pytest.MonkeyPatch, total: int | None
) -> None:
    """So that the line can be taken back."""
    monkeypatch.setenv("COLUMNS", "30")
    shown = shown_on_a_terminal(total, name="installing\x1b the system's boot loader")
    assert "\x1b[2J" not in shown
    for line in shown.replace("\x1b[K", "").split("\r"):
        assert len(line) <= 30


def test_a_terminal_that_cannot_go_back_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert LINE.fullmatch(shown_on_a_terminal(2 << 20))


def test_a_full_standard_error_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        for bars in (True, False):
            with Progress(bars=bars).step("writing", total=10) as step:
                step.advance(10)


def test_a_closed_standard_error_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with Progress().step("writing", total=10) as step:
        step.advance(10)
