"""Each way to fail has its message and its exit status.

Without these tests, a script cannot tell from the exit status whether the request or the host was
at fault.
"""

import io
import logging
import signal
import sys
from collections.abc import Callable

import pytest

from assembler.cli.ending import run_command, set_up_log
from assembler.errors import HostError, RequestError
from assembler.host.console import Console


def ended(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[Console], int]
) -> tuple[object, str, list[str]]:
    """The status, and what was printed on both streams."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    # One that is ignored, as SIGHUP below nohup, would stay so.
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (1, 2, 15)}
    try:
        with pytest.raises(SystemExit) as caught:
            run_command("assemble", run)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return caught.value.code, out.getvalue(), err.getvalue().splitlines()


@pytest.mark.parametrize(
    ("error", "status", "lines"),
    [
        (RequestError(["one\nforged", "two\x1b"]), 2, ["one\\nforged", "two\\x1b"]),
        (HostError("failed", "  why"), 1, ["failed", "  why"]),
        (OSError(5, "Input/output error", "/a\nb"), 1, ["/a\\nb: Input/output error"]),
        (FileNotFoundError(2, "No such file"), 1, ["the working directory is gone: go to another"]),
        (MemoryError(), 1, ["this host has not enough memory"]),
        (RuntimeError("can't start new thread"), 1, ["this host lets us start no more threads: "]),
        (SystemExit(0), 0, []),
        (
            ValueError("embedded null byte"),
            1,
            ["bug in assemble, please report it: ValueError: embedded null byte", "-vv tells"],
        ),
    ],
)
def test_each_failure(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, lines: list[str]
) -> None:
    def run(_console: Console) -> int:
        raise error

    code, out, err = ended(monkeypatch, run)
    assert (code, out, len(err)) == (status, "", len(lines))
    for line, expected in zip(err, lines, strict=True):
        assert line.startswith(f"assemble: {expected}")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "terminated"),
        (signal.SIGHUP, "the terminal has gone"),
    ],
)
def test_signals(monkeypatch: pytest.MonkeyPatch, number: signal.Signals, words: str) -> None:
    """The first one ends the command, and errors of the clean-up are not printed."""

    def run(_console: Console) -> int:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGINT)
            raise HostError("for that")

    assert ended(monkeypatch, run) == (128 + number, "", [f"assemble: {words}"])


def test_the_status_is_what_the_command_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(console: Console) -> int:
        print("made\x1b")
        print("warned\r", file=sys.stderr)
        console.out.lines(["a\nb"])
        return 7

    assert ended(monkeypatch, run) == (7, "made\\x1b\na\\nb\n", ["warned\\r"])


def test_records_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name cannot add a line; each line of an error is printed."""
    log = logging.getLogger("assembler.test")
    before = logging.getLogger().handlers[:]

    def run(console: Console) -> int:
        set_up_log(console, logging.INFO, bars=False)
        log.debug("not printed")
        log.warning("%s is left out", "a\nb\x1b")
        try:
            raise ValueError("x\x1b")
        except ValueError as error:
            log.info("where:", exc_info=error)
        return 0

    try:
        status, _, err = ended(monkeypatch, run)
    finally:
        logging.getLogger().handlers[:] = before
    assert status == 0
    assert err[:2] == ["a\\nb\\x1b is left out", "where:"]
    assert err[-1] == "ValueError: x\\x1b"
    assert err[2] == "Traceback (most recent call last):"
