"""Control characters do not reach a terminal, and streams that fail raise nothing.

Without these tests, a file name in a message can control the user's terminal.
"""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from assembler.host.console import Console, Printer, Raw, folded


def test_a_printer_escapes_all_but_the_ends_of_lines() -> None:
    stream = io.StringIO()
    print("one\x1b", "two\r", file=Printer(stream), sep="\n")
    Printer(stream).lines(["three\nfour", "\tfive"])
    assert stream.getvalue() == "one\\x1b\ntwo\\r\nthree\\nfour\n\\tfive\n"


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_long_line_is_folded_at_its_spaces(columns: int) -> None:
    line = "  2  at   1.0 MiB    7.0 MiB  GRUB core image for BIOS and so on, and on"
    lines = folded(line, columns)
    assert all(len(part) <= columns for part in lines)
    assert [part.startswith("      ") for part in lines[1:]] == [True] * (len(lines) - 1)
    assert " ".join(lines).split() == line.split()


def test_a_word_is_never_cut() -> None:
    assert folded("in /nix/store/abc-def", 8) == ["in", "    /nix/store/abc-def"]
    assert folded("x" * 50, 0) == ["x" * 50]


def test_only_a_terminal_gets_folded_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "12")
    file = io.StringIO()
    Printer(file).lines(["one two three four"])
    assert file.getvalue() == "one two three four\n"
    master, slave = pty.openpty()
    with open(slave, "w") as terminal:
        Printer(terminal).lines(["one two three four"])
        terminal.flush()
        shown = b""
        while not shown.endswith(b"four\r\n"):
            shown += os.read(master, 100)
    assert shown == b"one two\r\n    three\r\n    four\r\n"
    os.close(master)


@pytest.mark.parametrize("kind", ["closed", "none", "full", "gone"])
def test_a_stream_that_takes_nothing_never_raises(kind: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = {"full": "/dev/full", "gone": writing}.get(kind, os.devnull)
    with open(stream, "w", closefd=kind != "gone") as file:
        if kind == "closed":
            file.close()
        raw = Raw(None if kind == "none" else file)
        for _ in range(3):
            raw.write("text\n")
            raw.flush()
    words = {"none": "it is closed", "full": "No space left on device", "gone": ""}
    assert raw.fault == words.get(kind, "I/O operation on closed file.")
    assert not raw.isatty()
    os.close(writing)


def test_errors_are_told_where_anything_is(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    for stderr in (err, None):
        monkeypatch.setattr(sys, "stderr", stderr)
        console = Console()
        with console.installed():
            console.complain(["x: it failed"])
        assert sys.stderr is stderr
    assert (out.getvalue(), err.getvalue()) == ("x: it failed\n", "x: it failed\n")


def test_json_is_alone_on_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", None)
    console = Console()
    console.prints_data = True
    console.complain(["x: it failed"])
    assert out.getvalue() == ""


def test_closed_streams_give_no_number_to_another_file(tmp_path: Path) -> None:
    """What is opened next has a number above theirs, and nothing printed gets into it."""
    script = (
        "import assemble_start, os, sys\n"
        f"handle = os.open({str(tmp_path / 'image')!r}, os.O_CREAT | os.O_WRONLY)\n"
        "os.write(1, b'printed'); os.write(2, b'printed')\n"
        "assert all(map(os.get_inheritable, range(3)))\n"
        "sys.exit(handle < 3)\n"
    )
    command = ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', sys.executable, "-c", script]
    assert subprocess.run(command).returncode == 0
    assert (tmp_path / "image").read_bytes() == b""


def test_a_package_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    (tmp_path / "cffi.py").write_text("raise ImportError('libffi.so.8: cannot open')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", "import assemble_start"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("-c: a Python package cannot be loaded (libffi.so.8: cannot ")
    assert done.stderr.count("\n") == 1
