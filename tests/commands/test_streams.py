"""Whole commands whose standard streams are closed or full: the work is done all the same.

Without these tests, a closed pipe or a full log can lose a finished image.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.systems import System, make_system

BIN = Path(sys.executable).parent
TOLD = "it is done, but its result could not be printed: standard output could not be written: "


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def image(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound image."""
    out = tmp_path_factory.mktemp("image") / "disk.raw"
    done = run("", "assemble", "--out", out, *system.options, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return out


def run(redirected: str, command: str, *argv: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a command with streams that a shell has redirected."""
    script = f'"$0" "$@" {redirected}'
    shell = ["sh", "-c", script, shutil.which(command, path=f"{BIN}:/usr/bin") or "", *argv]
    return subprocess.run(shell, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("redirected", "line"),
    [
        (">/dev/full", f"assemble: {TOLD}No space left on device"),
        ("<&- >&- 2>&-", ""),
        ("2>/dev/full", ""),
    ],
)
def test_an_image_is_finished_whoever_can_be_told(
    system: System, image: Path, tmp_path: Path, redirected: str, line: str
) -> None:
    """With the same bytes: nothing that is printed gets into it."""
    out = tmp_path / "disk.raw"
    done = run(redirected, "assemble", "--out", out, *system.options)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1:] == ([line] if line else [])
    messages = done.stdout.splitlines()
    assert messages[:1] == ([str(out)] if redirected == "2>/dev/full" else [])
    if messages:
        assert " MiB, 3 partitions, " in messages[1]
        assert messages[1].endswith(" used on disk")
        command = messages.index("to try it out, without a change to it:") + 1
        assert messages[command].startswith("  qemu-system-x86_64 ")
    assert os.listdir(tmp_path) == ["disk.raw"]
    assert subprocess.run(["cmp", out, image]).returncode == 0


@pytest.mark.parametrize("redirected", [">&-", ">/dev/full", ">&- 2>&-"])
def test_a_verdict_is_in_the_status(image: Path, tmp_path: Path, redirected: str) -> None:
    unsound = tmp_path / "unsound"
    unsound.write_bytes(image.read_bytes()[: 4 << 20])
    done = run(redirected, "check-image", unsound, image)
    assert done.returncode == 1
    if redirected.startswith(">") and "2>" not in redirected:
        assert done.stderr.startswith(f"check-image: {unsound} is unsound: the image is ")
        assert len(done.stderr.splitlines()) == 3  # the other, and why they are here
    assert run(redirected, "check-image", image).returncode == 0


@pytest.mark.parametrize(
    ("redirected", "asked"), [(">&-", "--help"), (">/dev/full", "--version"), (">&-", "--plan")]
)
def test_what_was_only_to_be_printed_is_lost(
    system: System, tmp_path: Path, redirected: str, asked: str
) -> None:
    done = run(redirected, "assemble", "--out", tmp_path / "x", *system.options, "-q", asked)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("assemble: standard output could not be written: ")


def test_errors_are_told_on_the_stream_that_there_is(system: System, tmp_path: Path) -> None:
    argv = ["--out", tmp_path, *system.options]
    line = f"assemble: --out {tmp_path} is a directory\n"
    assert run("", "assemble", *argv, "-q").stderr == line
    for redirected in ("2>&-", "2>/dev/full"):
        done = run(redirected, "assemble", *argv)
        assert (done.returncode, done.stdout) == (2, line)
    done = run("2>&-", "assemble", *argv, "--json")
    assert (done.returncode, done.stdout) == (2, "")


def test_a_reader_that_has_gone_is_no_failure(image: Path) -> None:
    script = '{ "$0" "$@"; echo $? >&2; } | true'
    shell = ["sh", "-c", script, BIN / "check-image", image]
    assert subprocess.run(shell, capture_output=True, text=True).stderr == "0\n"


def test_a_result_as_json(system: System, image: Path, tmp_path: Path) -> None:
    """By a relative name and a link, since the absolute path is printed."""
    (tmp_path / "link").symlink_to("disk.raw")
    argv = ["assemble", "--out", "link", *system.options, "--json", "--quiet"]
    done = subprocess.run([BIN / argv[0], *argv[1:]], capture_output=True, cwd=tmp_path, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    out = tmp_path / "disk.raw"
    assert facts["out"] == facts["check"]["path"] == str(out)
    assert facts["size"] == out.stat().st_size == image.stat().st_size
    used = int(subprocess.run(["du", "-B1", out], capture_output=True).stdout.split()[0])
    assert facts["bytesOnDisk"] == used
    assert facts["check"]["sound"] is True
    assert facts["plan"]["partitionTable"] == "hybrid"
    assert f"file={out},format=raw,if=virtio" in facts["tryOut"]
    assert facts["seconds"]["checking"] > 0


def test_an_image_on_standard_output(system: System, image: Path, tmp_path: Path) -> None:
    """Nothing but the image goes there, what is printed goes to standard error; TMPDIR is empty."""
    out, tmp = tmp_path / "out", tmp_path / "tmp"
    tmp.mkdir()
    options = [*system.options, "--out", "-"]
    done = run(f"> {out}", "env", f"TMPDIR={tmp}", BIN / "assemble", *options)
    assert (done.returncode, done.stdout) == (0, "")
    assert out.read_bytes() == image.read_bytes()
    assert "\nstandard output\n" in done.stderr
    assert list(tmp.iterdir()) == []


@pytest.mark.parametrize(("format", "unpack"), [("raw.zst", "zstd -dc"), ("raw.gz", "gzip -dc")])
def test_a_compressed_image_on_standard_output(
    system: System, image: Path, tmp_path: Path, format: str, unpack: str
) -> None:
    out = tmp_path / "out"
    options = [*system.options, "--quiet", "--format", format, "--out", "-"]
    done = run(f"| {unpack} > {out}", "assemble", *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert out.read_bytes() == image.read_bytes()


@pytest.mark.parametrize("format", ["raw", "raw.zst", "raw.gz", "gce"])
def test_a_reader_that_ends(system: System, format: str) -> None:
    options = [*system.options, "--quiet", "--format", format, "--out", "-", "--size", "1G"]
    done = run("| head -c 100 > /dev/null", "assemble", *options)
    assert done.stderr == (
        "assemble: standard output was closed before all was written: "
        "the program that reads it has ended\n"
    )


@pytest.mark.parametrize("format", ["raw", "raw.zst", "raw.xz", "gce", "vma"])
def test_standard_output_that_is_full(system: System, format: str) -> None:
    """It is named, and TMPDIR is not blamed."""
    options = [*system.options, "--quiet", "--format", format, "--out", "-"]
    done = run("> /dev/full", "assemble", *options)
    [line] = done.stderr.splitlines()
    assert done.returncode == 1
    assert "standard output" in line
    assert line.endswith("goes")
    assert "No space left on device" in line
    assert "TMPDIR" not in line


@pytest.mark.parametrize(
    ("redirected", "options", "line"),
    [
        (">&-", [], "--out -: standard output is closed"),
        ("| cat", ["--json"], "--json and --out - both write to standard output"),
        (
            "| cat",
            ["--format", "vdi"],
            "--format vdi cannot be written to standard output, as raw, gce, raw.zst, raw.gz, "
            "raw.xz, vma can",
        ),
    ],
)
def test_standard_output_that_cannot_be_used(
    system: System, redirected: str, options: list[str], line: str
) -> None:
    done = run(redirected, "assemble", "--out", "-", "--quiet", *system.options, *options)
    assert done.stderr.splitlines()[0] == f"assemble: {line}"
