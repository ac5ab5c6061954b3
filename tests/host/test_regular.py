"""Only regular files are read: a FIFO or a device in their place does not stop the program.

Without these tests, a FIFO in place of a file can make the program wait for ever.
"""

import os
import socket
from pathlib import Path

import pytest

from assembler.copying.copier import Copier
from assembler.copying.copy_worker import blame
from assembler.errors import HostError
from assembler.host.progress import Step
from assembler.host.regular import input_fault, open_file, read_file


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link") == b"data"
    with open_file(tmp_path / "file") as file:
        assert file.read(2) == b"da"


@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
def test_whatever_else_there_is_is_an_error(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "it"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to("/dev/zero")
    with pytest.raises(OSError, match="not a regular file") as caught:
        read_file(place)
    assert caught.value.filename == place


def test_what_is_given_to_be_read_is_a_file_or_a_pipe_that_is_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a fifo")
    (tmp_path / "loop").symlink_to("loop")
    reading, writing = os.pipe()
    with socket.socketpair()[0] as ours:
        for fine in (reading, writing, ours.fileno()):
            assert input_fault(Path(f"/dev/fd/{fine}")) == ""
            assert input_fault(Path(f"/proc/self/fd/{fine}")) == ""
    os.close(reading)
    os.close(writing)
    assert input_fault(tmp_path) == ""
    faults = {
        "a fifo": f"is a FIFO, not a regular file: take <(cat '{tmp_path}/a fifo') in a shell",
        "absent": "does not exist",
        "loop": "cannot be read: Too many levels of symbolic links",
        "/dev/zero": "is a device, not a regular file",
    }
    assert {name: input_fault(tmp_path / name) for name in faults} == faults


def copy(tmp_path: Path, source: Path) -> None:
    """Copy a page of a file as the writers do."""
    (tmp_path / "image").write_bytes(bytes(8192))
    with Copier(tmp_path / "image", Step(None)) as copier:
        copier.copy(os.fsencode(source), 0, 4096, 4096)


@pytest.mark.parametrize("hashing", [False, True])
@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
def test_a_source_that_is_no_longer_a_file(tmp_path: Path, kind: str, hashing: bool) -> None:
    (tmp_path / "image").write_bytes(bytes(8192))
    source = Path("/dev/zero") if kind == "device" else tmp_path / "source"
    if kind == "fifo":
        os.mkfifo(source)
    if kind == "directory":
        source.mkdir()
    with (
        pytest.raises(HostError, match=f"{source}: it is no longer a file"),
        Copier(tmp_path / "image", Step(None), workers=1) as copier,
    ):
        if hashing:
            copier.open("x")
        copier.copy(os.fsencode(source), 0, 4096, 4096)
    assert (tmp_path / "image").read_bytes() == bytes(8192)


def test_a_source_that_has_vanished(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="source: No such file or directory"):
        copy(tmp_path, tmp_path / "source")


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """As on a failing disk: at address 0 of our own memory there is nothing (EIO)."""
    with pytest.raises(HostError, match="/proc/self/mem: Input/output error"):
        copy(tmp_path, Path("/proc/self/mem"))


def test_a_copy_that_the_target_refuses_is_not_the_sources_fault(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(4096))
    full = OSError(28, "No space left on device")
    with (tmp_path / "source").open("rb") as file:
        assert blame(full, file.fileno(), b"source", 0, 4096) is full
    failed = pytest.raises(HostError, match="the image: ")
    with failed, Copier(Path("/dev/full"), Step(None)) as copier:
        copier.copy(os.fsencode(tmp_path / "source"), 0, 0, 4096)
