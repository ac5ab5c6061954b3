"""scripts/benchmark on a closure of a few MB: it measures, and leaves no files behind.

Without these tests, the benchmark breaks unnoticed until somebody needs its numbers.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import REPOSITORY

_TINY = ("--make", "3M", "--inodes", "200", "--paths", "10", "--rounds", "1")
_ROWS = (
    "floor: sendfile to one file",
    "mke2fs -d",
    "assemble: writing ext4",
    "assemble: whole command",
)


def _start(directory: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, REPOSITORY / "scripts/benchmark", "--directory", directory, *options],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_prints_a_table_and_the_limits(tmp_path: Path) -> None:
    running = _start(tmp_path, *_TINY, "--directory-of", "300")
    out, err = running.communicate()
    assert running.returncode == 0, err
    assert re.search(r"^3\.1 MB in 200 inodes of 10 store paths, on ", out, re.MULTILINE)
    number, ratio = r" +(\d+\.\d\d)", r" +(\d+\.\d\d)"
    for name in _ROWS:
        row = re.search(
            rf"^{re.escape(name)}{number * 3}{ratio * 2} +(-|\d+\.\d)$", out, re.MULTILINE
        )
        assert row is not None, out
        median, least, most = map(float, row.groups()[:3])
        assert least <= median <= most
        if name == _ROWS[0]:
            assert (row[4], row[6]) == ("1.00", "-")
        else:
            assert 1 < float(row[6]) < 500  # MiB
    limits = re.findall(r"^  (.+?) +\d+\.\d\d <= +\d+\.\d\d .*(ok|MISSED)$", out, re.MULTILINE)
    assert [name for name, _ in limits] == [
        "write step / floor",
        "write step / mke2fs -d",
        "whole command / floor",
        "peak memory",
        "a directory of 300, whole command",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.emulated
def test_the_writers_in_appliances_are_measured(tmp_path: Path) -> None:
    running = _start(tmp_path, *_TINY, "--guestfs")
    out, err = running.communicate()
    assert running.returncode == 0, err
    for name in ("assemble --writer guestfs", "virt-make-fs"):
        assert re.search(rf"^{name}( +\d+\.\d\d){{5}} +\d+\.\d$", out, re.MULTILINE), out
    assert re.search(r"^  whole command, guestfs / virt-make-fs +\d+\.\d\d <= +0\.50", out, re.M)
    assert "steps of assemble --writer guestfs, median seconds" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_formats_are_measured(tmp_path: Path) -> None:
    running = _start(tmp_path, *_TINY, "--formats")
    out, err = running.communicate()
    assert running.returncode == 0, err
    for name in ("qcow2", "vhd", "vmdk", "raw.zst", "qcow2-compressed"):
        assert re.search(rf"^assemble --format {name}( +\d+\.\d\d){{5}}", out, re.MULTILINE), out
    assert re.search(r"^  raw.zst / \(raw \+ zstd -T0\) +\d+\.\d\d <= +1\.10", out, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    running = _start(tmp_path, *_TINY)
    assert running.stdout is not None
    running.stdout.readline()  # the closure is made, and the first round begins
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (130, "benchmark: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_size_is_refused(tmp_path: Path) -> None:
    running = _start(tmp_path, "--make", "1.3X")
    assert "--make" in running.communicate()[1]
    assert running.returncode == 2
