"""Removing trees that were made read-only."""

import os
import stat
from pathlib import Path

from assembler.remove import remove_tree
from tests.helpers import output


def test_a_deep_read_only_tree_is_removed(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    output("mkdir", "-p", deep / "/".join("d" * 1200))
    output("chmod", "-R", "a-w", deep)
    remove_tree(deep)
    assert not deep.exists()


def test_what_is_absent_is_removed_already(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")


def test_a_link_is_removed_and_not_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch(mode=0o400)
    (tmp_path / "link").symlink_to("kept")
    remove_tree(tmp_path / "link")
    assert os.listdir(tmp_path) == ["kept"]
    assert stat.S_IMODE((tmp_path / "kept/file").stat().st_mode) == 0o400
