"""Bars on a terminal, lines elsewhere."""

import io
import os
import pty
import re
import sys

import pytest

from assembler.progress import Progress

LINE = re.compile(r"writing: [0-9]+\.[0-9]{2} s\r?\n")


def shown_on_a_terminal(total: int | None, **options: bool) -> str:
    """What a terminal gets of a step that does half of its work."""
    master, slave = pty.openpty()
    with open(slave, "w") as stream:
        with Progress(stream=stream, **options).step("writing", total=total) as step:
            step.advance((total or 0) // 2)
        stream.write("#")
    shown = b""
    while not shown.endswith(b"#"):
        shown += os.read(master, 1 << 16)
    os.close(master)
    return shown[:-1].decode()


def test_a_terminal_gets_a_bar_of_bytes() -> None:
    shown = shown_on_a_terminal(2 << 20)
    assert "writing: " in shown
    assert "2.00M" in shown
    assert "B/s" in shown


def test_a_bar_leaves_nothing_behind() -> None:
    shown = shown_on_a_terminal(2 << 20)
    assert "\n" not in shown
    assert shown.rstrip("\r").rpartition("\r")[2].strip() == ""


def test_a_step_without_a_total_is_named_on_a_terminal() -> None:
    shown = shown_on_a_terminal(None)
    assert "writing …" in shown
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
    assert "writing: " in stream.getvalue()
    assert "\r" in stream.getvalue()


def test_steps_of_one_name_are_one_entry_in_the_summary() -> None:
    progress = Progress(quiet=True)
    for name in ("a", "a", "b"):
        with progress.step(name):
            pass
    assert list(progress.seconds) == ["a", "b"]


def test_a_step_that_fails_is_not_told_as_done() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError), Progress(stream=stream).step("writing", total=10):
        raise ValueError
    assert stream.getvalue() == ""


def test_a_closed_standard_error_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with Progress().step("writing", total=10) as step:
        step.advance(10)
