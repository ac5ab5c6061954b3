"""Runs that end early leave `--out` as it was: signals, a kill, a full disk.

Without these tests, an interrupted run can replace a good image with half of a new one.
"""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.places import ASSEMBLE, CHECK_IMAGE, AsRoot
from tests.support.programs import run


def start(out: Path, scratch: Path, *command: str | Path) -> "subprocess.Popen[str]":
    """Start a run over an `out` that is there, with temporary files in `scratch`."""
    out.write_text("precious")
    scratch.mkdir()
    return subprocess.Popen(
        [str(arg) for arg in command],
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_step(child: "subprocess.Popen[str]", step: str) -> None:
    """Wait until a run prints that it begins a step."""
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith(step):
            return
    pytest.fail(f"the run ended before {step}")


@pytest.mark.parametrize(
    ("step", "signals"),
    [
        ("reading the closure", [signal.SIGHUP]),
        ("reading the closure", [signal.SIGTERM, signal.SIGINT]),
        ("preparing the root", [signal.SIGINT]),
        ("preparing the root", [signal.SIGINT, signal.SIGINT]),
        ("partitioning", [signal.SIGTERM]),
        ("writing ext4", [signal.SIGHUP]),
        ("writing ext4", [signal.SIGTERM, signal.SIGHUP, signal.SIGTERM]),
        ("checking", [signal.SIGINT]),
    ],
)
def test_interrupt_leaves_what_was_there(
    demo_system: str, tmp_path: Path, step: str, signals: list[signal.Signals]
) -> None:
    """In any step, by the terminal (the whole group) or by SIGTERM (us alone), and once more."""
    out, scratch = tmp_path / "disk.raw", tmp_path / "scratch"
    child = start(out, scratch, ASSEMBLE, "--out", out, "--system", demo_system)
    wait_for_step(child, step)
    for number in signals:
        if number == signal.SIGTERM:
            child.send_signal(number)
        else:
            with suppress(ProcessLookupError):  # the first signal has ended it already
                os.killpg(child.pid, number)
    _, printed = child.communicate(timeout=30)
    assert "Traceback" not in printed, printed
    # Of two that came during one call into a library, Python takes the lower number first.
    assert child.returncode in [128 + number for number in signals], printed
    assert out.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk.raw", "scratch"]
    assert list(scratch.iterdir()) == []


def test_nohup_has_its_way(demo_system: str, tmp_path: Path) -> None:
    out, scratch = tmp_path / "disk.raw", tmp_path / "scratch"
    command = ["nohup", ASSEMBLE, "--out", out, "--system", demo_system]
    child = start(out, scratch, *command)
    wait_for_step(child, "reading the closure")
    os.killpg(child.pid, signal.SIGHUP)
    _, printed = child.communicate(timeout=30)
    assert child.returncode == 0, printed
    assert run(CHECK_IMAGE, out).returncode == 0


def test_a_killed_run_leaves_what_was_there(demo_system: str, tmp_path: Path) -> None:
    out = tmp_path / "disk.raw"
    command = [ASSEMBLE, "--out", out, "--system", demo_system]
    with tempfile.TemporaryDirectory() as directory:  # which a killed run cannot clean
        child = start(out, Path(directory) / "scratch", *command)
        wait_for_step(child, "writing ext4")
        child.kill()
        child.communicate(timeout=30)
    assert out.read_text() == "precious"
    assert run(*command).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["disk.raw"]


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_full_disk_leaves_what_was_there(
    demo_system: str, tmp_path: Path, as_root: AsRoot, foreseen: bool
) -> None:
    """Unforeseen, as where another program fills it meanwhile."""
    mount = tmp_path / "small"
    mount.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", "size=40m,mode=1777", "tmpfs", mount)
    try:
        (mount / "disk.raw").write_bytes(b"precious")
        blind = "" if foreseen else "import assembler.pipeline as p; p.require_room = print;"
        script = f"{blind}import assemble_start as m; m.assemble_main()"
        python = [sys.executable, "-c", script]
        done = run(*python, "--out", mount / "disk.raw", "--system", demo_system, "-q")
        assert done.returncode == 1
        disk = f"assemble: the disk of --out ({mount})"
        if foreseen:
            assert done.stderr.startswith(f"{disk} has 4")
        else:
            [line] = done.stderr.splitlines()
            assert line.startswith(f"{disk} is full: ")
        assert "Traceback" not in done.stderr
        assert (mount / "disk.raw").read_bytes() == b"precious"
        assert [path.name for path in mount.iterdir()] == ["disk.raw"]
    finally:
        as_root("umount", mount)
