"""A file system that no kernel of this host has is refused before an appliance is started.

Without these tests, a missing module of the kernel is reported a minute later, by mount.
"""

from pathlib import Path

import pytest

from assembler.appliance import kernels

MAKEABLE = ("ext4", "btrfs", "xfs", "f2fs")


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two kernels' modules."""
    for variable in ("LIBGUESTFS_PATH", "SUPERMIN_KERNEL", "SUPERMIN_MODULES"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(kernels, "_MODULES", tmp_path)
    (tmp_path / "6.1").mkdir()
    (tmp_path / "6.1" / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    (tmp_path / "6.1" / "modules.dep").write_text("kernel/fs/xfs/xfs.ko: kernel/lib/crc.ko\n")
    (tmp_path / "6.2").mkdir()
    (tmp_path / "6.2" / "modules.dep").write_text("kernel/fs/btrfs/btrfs.ko.xz:\n")
    return tmp_path


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_one_that_some_kernel_has(kind: str) -> None:
    assert kernels.problems(kind, MAKEABLE) == []


def test_one_that_none_has() -> None:
    [line] = kernels.problems("f2fs", MAKEABLE)
    assert "file_system f2fs: " in line
    assert "has none; of what can be made it has ext4, btrfs, xfs: take one of them" in line


@pytest.mark.parametrize("variable", ["LIBGUESTFS_PATH", "SUPERMIN_KERNEL", "SUPERMIN_MODULES"])
def test_a_kernel_from_elsewhere(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "/somewhere")
    assert kernels.problems("f2fs", MAKEABLE) == []


def test_a_host_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_MODULES", tmp_path / "absent")
    assert kernels.problems("f2fs", MAKEABLE) == []
