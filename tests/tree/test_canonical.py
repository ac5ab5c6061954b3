"""Modes and times of store paths, against stat.

Without these tests, store paths of a prepared root can have other modes and times than Nix gives
them.
"""

import os
from pathlib import Path

import pytest

from assembler.tree.canonical import is_canonical, make_canonical, make_link_canonical, mend
from assembler.tree.tree import Directory, Node, regular, symlink
from tests.support.helpers import output


def shown(path: Path) -> str:
    return output("stat", "-c", "%A %Y", path).decode().strip()


@pytest.mark.parametrize("by_handle", [False, True])
def test_a_file_gets_mode_and_time(tmp_path: Path, by_handle: bool) -> None:
    file = tmp_path / "file"
    file.touch(mode=0o640)
    assert not is_canonical(file.stat(), 0o444)
    with file.open() as opened:
        make_canonical(opened.fileno() if by_handle else str(file), 0o444)
    assert shown(file) == "-r--r--r-- 1"
    assert is_canonical(file.stat(), 0o444)
    assert not is_canonical(file.stat(), 0o555)


def test_a_link_gets_its_time_and_not_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    before = shown(tmp_path / "file")
    (tmp_path / "link").symlink_to("file")
    make_link_canonical(str(tmp_path / "link"))
    assert shown(tmp_path / "link") == "lrwxrwxrwx 1"
    assert shown(tmp_path / "file") == before


def tree() -> Directory:
    top = Directory(0o555)
    top.children = {b"file": regular(b"text", 0o444), b"link": symlink(b"target")}
    return top


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """The files of `tree`, with the modes of whoever made them."""
    top = tmp_path / "top"
    top.mkdir()
    (top / "file").write_bytes(b"text")
    (top / "link").symlink_to("target")
    return top


def test_what_is_right_is_mended(top: Path) -> None:
    assert mend(str(top), tree())
    assert [shown(path) for path in (top, top / "file", top / "link")] == [
        "dr-xr-xr-x 1",
        "-r--r--r-- 1",
        "lrwxrwxrwx 1",
    ]


def test_what_is_right_already_is_not_touched(top: Path) -> None:
    mend(str(top), tree())
    before = output("find", top, "-printf", "%p %i %C@\\n")
    assert mend(str(top), tree())
    assert output("find", top, "-printf", "%p %i %C@\\n") == before


@pytest.mark.parametrize(
    ("name", "node"),
    [
        (b"file", regular(b"other length", 0o444)),
        (b"file", symlink(b"target")),
        (b"file", Directory(0o555)),
        (b"link", symlink(b"elsewhere")),
        (b"link", regular(b"target", 0o444)),
        (b"more", regular(b"", 0o444)),
    ],
)
def test_what_is_wrong_stays_as_it_is(top: Path, name: bytes, node: Node | Directory) -> None:
    before = output("find", top, "-printf", "%p %i %m %T@\\n")
    wanted = tree()
    wanted.children[name] = node
    assert not mend(str(top), wanted)
    assert output("find", top, "-printf", "%p %i %m %T@\\n") == before


def test_what_is_absent_is_wrong(tmp_path: Path) -> None:
    assert not mend(str(tmp_path / "absent"), tree())
    assert not os.path.lexists(tmp_path / "absent")
