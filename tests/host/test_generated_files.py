"""Files that the kernel generates are recognised, wherever they are mounted.

Without these tests, a file of /proc or /sys can get into an image, empty or different each time.
"""

import os
from pathlib import Path

import pytest

from assembler.errors import RequestError
from assembler.host import generated_files
from assembler.host.generated_files import kernel_fault
from assembler.tree.scan import Metadata, Scanner
from assembler.tree.tree import Tree


@pytest.mark.parametrize("known", [True, False])
def test_files_of_proc(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the file system, and where that is unknown by a size that is none."""
    if not known:
        monkeypatch.setattr(generated_files, "_file_systems", dict)
    kind = "proc" if known else "a file system without sizes"
    path = "/proc/self/status"
    assert kernel_fault(path, os.lstat(path)).startswith(f"{path} is on {kind}, where the kernel")


def test_real_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "full").write_bytes(b"x")
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("/proc/self/status")
    for path in (tmp_path, *tmp_path.iterdir()):
        assert kernel_fault(str(path), os.lstat(path)) == ""


def test_they_are_found_in_directories() -> None:
    tree = Tree()
    with pytest.raises(RequestError, match=r"/proc/sys/kernel/random/.* is on proc, "):
        Scanner(tree).read("/proc/sys/kernel/random", Metadata(changes=()))
