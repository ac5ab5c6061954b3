"""Free room is compared with the need before the first byte, and a full disk is named.

Without these tests, a run can fail after minutes because a disk is full, and not name the disk.
"""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from assembler.errors import HostError, RequestError
from assembler.host.room import (
    Need,
    extend,
    free,
    require_room,
    require_some_room,
    temporary,
    watched,
)
from assembler.units import GIB, KIB, MIB
from tests.support.places import AsRoot
from tests.support.systems import add_path, make_system, store_path

BIN = Path(sys.executable).parent


def disk(monkeypatch: pytest.MonkeyPatch, **facts: int) -> None:
    """Let every disk look so to statvfs."""
    usual = {"f_blocks": 1 << 20, "f_bavail": 0, "f_bfree": 0, "f_frsize": 4096}
    messages = SimpleNamespace(**{**usual, "f_files": 100, "f_ffree": 100, **facts})
    monkeypatch.setattr(os, "statvfs", lambda _path: messages)


def test_what_is_kept_for_root_is_not_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch, f_bfree=5, f_bavail=2)
    assert free(tmp_path) == 2 * 4096
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert free(tmp_path) == 5 * 4096


def test_inodes_may_be_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, f_bavail=1000, f_ffree=0)
    assert free(tmp_path) == 0


def test_a_disk_that_does_not_tell_is_not_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch, f_blocks=0)
    assert free(tmp_path) is None
    require_room([Need(tmp_path, "it", GIB)])
    require_some_room(Need(tmp_path, "it"))


def test_needs_on_one_disk_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, f_bavail=3 * MIB // 4096)
    out, tmp = Need(tmp_path, "the disk of --out (/x)", 2 * MIB), temporary(tmp_path, 2 * MIB)
    require_room([out])
    with pytest.raises(HostError) as caught:
        require_room([out, tmp])
    assert str(caught.value) == (
        f"the disk of --out (/x) and TMPDIR ({tmp_path}) are on one disk, which has 3.0 MiB free, "
        "and 4.0 MiB are needed: set TMPDIR to a directory with room"
    )


def test_the_full_disk_is_named_before_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch, f_bavail=12 * KIB // 4096)
    with pytest.raises(HostError) as caught, watched(Need(tmp_path, "the disk", 2 * MIB)):
        raise HostError("copying: it failed")
    assert caught.value.lines == (
        "the disk is full: 12.0 KiB are free, and 2.0 MiB are needed: make room there",
        "copying: it failed",
    )
    with pytest.raises(HostError) as caught, watched(Need(tmp_path, "the disk")):
        raise OSError(28, "No space left on device", "x")
    assert caught.value.lines == ("the disk is full: 12.0 KiB are free: make room there",)
    with pytest.raises(HostError) as caught, watched(Need(tmp_path, "the disk")):
        require_room([Need(tmp_path, "TMPDIR", MIB)])
    assert caught.value.lines == (
        "TMPDIR has 12.0 KiB free, and 1.0 MiB are needed: make room there",
    )
    with pytest.raises(RequestError, match=r"^wrong$"), watched(Need(tmp_path, "the disk")):
        raise RequestError("wrong")


def test_other_failures_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"^it failed$"), watched(Need(tmp_path, "the disk")):
        raise HostError("it failed")


def test_a_file_larger_than_its_file_system_takes_is_told(tmp_path: Path) -> None:
    """Or than the limit of the process, which is easier to have here."""
    (tmp_path / "file").touch()
    disk, limits = Need(tmp_path, "the disk"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, limits[1]))
    try:
        extend(tmp_path / "file", MIB, disk)
        with pytest.raises(HostError) as caught:
            extend(tmp_path / "file", MIB + 1, disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.lines == (
        "the disk takes no file of 1.0 MiB, as the raw image is: its file system, or ulimit -f, "
        "has a lower limit: put the image on another file system, or take a smaller size",
    )
    assert (tmp_path / "file").stat().st_size == MIB


@pytest.fixture
def small(tmp_path: Path, as_root: AsRoot) -> Iterator[Path]:
    """A disk of 20 MiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", "size=20m,mode=1777", "tmpfs", mount)
    yield mount
    as_root("umount", mount)


def test_small_disks_are_told_with_need_and_room(tmp_path: Path, small: Path) -> None:
    """The image's, TMPDIR's, and that of a prepared root; nothing is left there."""
    system = make_system(tmp_path / "store")

    def run(command: str, *argv: str | Path, tmp: Path = tmp_path) -> list[str]:
        done = subprocess.run(
            [BIN / command, *argv, *system.options, "-q"],
            env={**os.environ, "TMPDIR": str(tmp)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1, done
        (small / "fill").unlink(missing_ok=True)
        assert list(small.iterdir()) == []
        return done.stderr.splitlines()

    [line] = run("assemble", "--out", small / "disk.raw")
    assert line.startswith(f"assemble: the disk of --out ({small}) has 20.0 MiB free, and 2")
    out = tmp_path / "disk.raw"
    (small / "fill").write_bytes(bytes(17 * MIB))
    [line] = run("assemble", "--out", out, tmp=small)
    found = line.partition(f"assemble: TMPDIR ({small}) has ")[2]
    assert re.match(r"(2\.9|3\.0) MiB free, and \d\.\d MiB are needed", found)
    (small / "fill").write_bytes(bytes(20 * MIB - 64 * KIB))
    first, *_ = run("assemble", "--out", out, tmp=small)
    assert first.startswith(f"assemble: TMPDIR ({small}) is full: ")
    assert not out.exists()
    large = store_path(7, "large")
    registration = add_path(system, large, {"file": bytes(21 * MIB)})
    options = ["--closure", registration, "--additional-path", large, "--copy-mode", "copy"]
    [line] = run("prepare-root", small, *options)
    assert line.startswith(f"prepare-root: the disk of {small} has 20.0 MiB free, and 21.")
