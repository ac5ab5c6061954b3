"""--help, --version and wrong arguments.

Without these tests, a mistyped option can print a traceback, or a page of help in place of a hint.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from typing import NoReturn

import pytest

from assembler.cli import commands as cli
from assembler.cli.arguments import OneOf, sector_size, version

SIZES = "write a number of bytes, or N with K, M, G or T"

Main = Callable[[list[str]], NoReturn]
MAINS: dict[str, Main] = {
    "assemble": cli.assemble_main,
    "prepare-root": cli.prepare_root_main,
    "check-image": cli.check_image_main,
}


def printed(
    capsys: pytest.CaptureFixture[str], command: str, *argv: str
) -> tuple[object, list[str], list[str]]:
    """The exit status, and the lines on both streams, of a command run in this process."""
    with pytest.raises(SystemExit) as caught:
        MAINS[command]([*argv])
    out, err = capsys.readouterr()
    return caught.value.code, out.splitlines(), err.splitlines()


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signals stay those of the tests."""
    monkeypatch.setattr("assembler.cli.ending.signal.signal", lambda *_: None)


@pytest.mark.parametrize("command", MAINS)
@pytest.mark.parametrize("columns", ["40", "60", "80", "200"])
def test_help(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    columns: str,
) -> None:
    """Each heading once, no line too long, nothing of Python in it, and no colours."""
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    status, lines, err = printed(capsys, command, "--help")
    assert (status, err) == (0, [])
    assert [line for line in lines if len(line) > int(columns)] == []
    headings = [line for line in lines if re.fullmatch(r"[a-z ]+:", line)]
    assert len(headings) == len({*headings})
    assert "exit status:" in headings
    text = " ".join(" ".join(lines).split())
    assert not re.search(r"Path\b\(|<|_|None|\x1b|%\(", text.replace("SOURCE_DATE_EPOCH", ""))
    assert "129, 130, 143: ended by SIGHUP, SIGINT (Ctrl-C), SIGTERM" in text
    assert ("SOURCE_DATE_EPOCH" in text) is (command != "check-image")
    assert ("nothing is made" in text) is (command != "check-image")
    assert ("0: sound 1: an image is unsound" in text) is (command == "check-image")
    assert text.startswith(f"usage: {command} ")
    others = text.partition("other commands: ")[2]
    assert [name for name in MAINS if f"{name}:" in others] == [m for m in MAINS if m != command]


@pytest.mark.parametrize("command", MAINS)
def test_version(capsys: pytest.CaptureFixture[str], command: str) -> None:
    status, [line], err = printed(capsys, command, "--version")
    assert (status, err) == (0, [])
    assert line.split()[0] == command
    assert metadata.version("assemble") in line


def test_version_of_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_name: str) -> str:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "version", absent)
    assert version("assemble") == "assemble (version unknown)"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "the following arguments are required: --out, --system"),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["check-image", "a b"], "check-image is a command of its own: `check-image 'a b'`"),
        (["--size"], "--size: expected one argument"),
        (["--out", "x", "--system", "y", "--ou"], "unrecognized arguments: --ou"),
        (["--writer", "magic"], "--writer: 'magic' is none of auto, direct, guestfs"),
        (["--accelerator", "x"], "--accelerator: 'x' is none of auto, kvm, tcg"),
        (["--out", ""], "--out: the name is empty"),
        (["--sector-size", "513"], "--sector-size: '513' is none of 512, 4096"),
        *(
            ([option, "many"], f"{option}: 'many' is not a size: {SIZES}")
            for option in ("--size", "--additional-space", "--boot-size")
        ),
        *(
            ([f"--generation={text}"], f"--generation: {text} is not N=PATH with a number N")
            for text in ("7", "=/x", "x=/x", "-1=/x", "1.5=/x", f"{'9' * 5000}=/x")
        ),
        (["--subvolume", "@"], "--subvolume: @ is not NAME=PATH"),
        (["--out", "x", "--system", "y", "a\nb\x1b"], "unrecognized arguments: a\\nb\\x1b"),
    ],
)
def test_a_wrong_argument_is_a_line_with_a_hint(
    capsys: pytest.CaptureFixture[str], argv: list[str], line: str
) -> None:
    status, out, err = printed(capsys, "assemble", *argv)
    assert (status, out) == (2, [])
    hint = "assemble: `assemble --help` tells what can be given"
    assert err == [f"assemble: {line}", hint]


@pytest.mark.parametrize(
    ("command", "names"), [("prepare-root", "ROOT, --system"), ("check-image", "FILE")]
)
def test_what_is_missing_is_named(
    capsys: pytest.CaptureFixture[str], command: str, names: str
) -> None:
    status, out, err = printed(capsys, command)
    assert (status, out) == (2, [])
    assert err[0] == f"{command}: the following arguments are required: {names}"


def test_help_on_what_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1")
    status, lines, err = printed(capsys, "assemble", "--help")
    assert (status, err) == (0, [])
    assert len(lines) > 100


def test_words_and_sectors() -> None:
    assert OneOf(["a", "b"])("b") == "b"
    assert sector_size("4096") == 4096


def test_nothing_is_imported_for_bars_alone() -> None:
    """A run without bars is spared the 40 ms that they take."""
    script = "import sys, assembler.cli.commands; sys.exit('tqdm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.mark.parametrize("text", ["yesterday", "-1", "9" * 5000])
def test_an_epoch_that_is_no_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    status, out, [line] = printed(capsys, "assemble", "--out", "x", "--system", "y")
    assert (status, out) == (2, [])
    assert line == f"assemble: SOURCE_DATE_EPOCH is {text!r}, not a number of seconds"
