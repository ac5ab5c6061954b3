"""Each place that cannot hold an image is refused before anything is made.

Without these tests, users wait for a whole image before they learn that it cannot be put there.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assembler.host.output import all_or_nothing, out_problems
from tests.support.places import AsRoot


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("absent/disk.raw", ": the directory {}/absent does not exist"),
        ("directory", " is a directory"),
        ("readonly/disk.raw", ": the directory {}/readonly is not writable"),
        ("x" * 256, ": its name is longer than 255 bytes: take a shorter one"),
        ("fifo", " is not a regular file: remove it, or take another name"),
    ],
)
def test_a_place_that_takes_no_file(tmp_path: Path, name: str, fault: str) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "readonly").mkdir(mode=0o555)
    assert out_problems(tmp_path / name) == [f"out {tmp_path / name}{fault.format(tmp_path)}"]


def test_a_device() -> None:
    [line] = out_problems(Path("/dev/null"))
    assert line.startswith("out /dev/null is a device, not a file")


def test_a_name_that_is_just_short_enough(tmp_path: Path) -> None:
    assert out_problems(tmp_path / ("x" * 255)) == []


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("link", "is a symlink that leads back to itself"),
        ("absent/x", "absent does not exist"),
        ("readonly/x", "readonly is not writable"),
        ("readonly", "is a directory"),
        ("locked/x", "locked is not writable"),
        ("y" * 255 + "/../" + "y" * 256, "its name is longer than 255 bytes: take a shorter one"),
    ],
)
def test_a_symlink_to_no_place(tmp_path: Path, target: str, fault: str) -> None:
    (tmp_path / "readonly").mkdir(mode=0o555)
    (tmp_path / "locked").mkdir(mode=0)
    (tmp_path / "link").symlink_to(target)
    [line] = out_problems(tmp_path / "link")
    assert line.startswith(f"out {tmp_path / 'link'}")
    assert line.endswith(fault)
    assert os.readlink(tmp_path / "link") == target


def test_a_file_that_a_sticky_directory_protects(tmp_path: Path, as_root: AsRoot) -> None:
    shared = tmp_path / "shared"
    as_root("install", "-d", "-m", "1777", shared)
    try:
        as_root("install", "-m", "644", "/dev/null", shared / "disk.raw")
        [line] = out_problems(shared / "disk.raw")
        assert line.startswith(f"out {shared / 'disk.raw'} belongs to another user")
        assert "sticky" in line
        for _ in range(2):  # the second time a file of our own is there
            assert out_problems(shared / "mine.raw") == []
            with all_or_nothing(shared / "mine.raw"):
                pass
    finally:
        as_root("rm", "-r", shared)


def test_a_sticky_directory_of_ones_own(tmp_path: Path, as_root: AsRoot) -> None:
    tmp_path.chmod(0o1777)
    as_root("install", "-m", "644", "/dev/null", tmp_path / "disk.raw")
    assert out_problems(tmp_path / "disk.raw") == []
    with all_or_nothing(tmp_path / "disk.raw") as image:
        image.write_bytes(b"new")
    assert (tmp_path / "disk.raw").read_bytes() == b"new"


LOOK = """
import sys
from pathlib import Path
from assembler.host.output import out_problems
sys.stderr.write("\\n".join(out_problems(Path("-"))))
"""


def test_a_terminal_takes_no_image() -> None:
    master, terminal = os.openpty()
    try:
        done = subprocess.run([sys.executable, "-c", LOOK], stdout=terminal, stderr=subprocess.PIPE)
    finally:
        os.close(master)
        os.close(terminal)
    words = b"out -: standard output is a terminal: send it to a file or a program"
    assert done.stderr == words
