"""The archive of a tree, unpacked by GNU tar, is the tree.

Without these tests, the root that an appliance unpacks can lack files, or hold linked ones twice.
"""

import os
import stat
from pathlib import Path

from hypothesis import given, settings

from assembler.filesystems.guestfs.payload import write_payload
from assembler.host.progress import Step
from assembler.tree.tree import Directory, Tree, regular
from tests.filesystems.test_guestfs_archive import unpack
from tests.support.helpers import directory, output
from tests.support.trees import random_trees


def shown(tree: Tree, top: Path) -> dict[bytes, object]:
    """What a directory shows for each path of the tree, and None for each other path in it."""
    found: dict[bytes, object] = {}
    for holder, subdirectories, files in os.walk(bytes(top)):
        for name in (b"", *subdirectories, *files):
            full = os.path.join(holder, name).rstrip(b"/")
            path = full.removeprefix(bytes(top)) or b"/"
            about = os.lstat(full)
            facts = [about.st_mode, int(about.st_mtime)]
            if stat.S_ISREG(about.st_mode):
                facts += [about.st_nlink, about.st_size]
            found[path] = facts if tree.get(path) is not None else None
    return found


def wanted(tree: Tree) -> dict[bytes, object]:
    """What `shown` must return for a whole directory."""
    made: dict[bytes, object] = {}
    for path, node in tree.walk():
        if isinstance(node, Directory):
            made[path] = [stat.S_IFDIR | node.mode, node.mtime]
        else:
            links = tree.names[node.group] if node.group else 1
            made[path] = [node.kind | node.mode, node.mtime, links, node.size]
    return made


@settings(max_examples=40)  # each is a run of tar
@given(random_trees())
def test_unpacked_it_is_the_tree(tree: Tree) -> None:
    with directory() as scratch:
        write_payload(scratch / "payload", tree, Step(None))
        unpack(scratch / "payload", scratch / "top")
        assert shown(tree, scratch / "top") == wanted(tree)


def test_a_file_of_several_names_is_in_it_once(tmp_path: Path) -> None:
    tree = Tree()
    group = tree.new_group()
    for number in range(4):
        file = regular(bytes(100_000))._replace(group=group)
        tree.add(b"/nix/store/%d/file" % number, file)
    write_payload(tmp_path / "payload", tree, Step(None))
    listed = output("tar", "-tvf", tmp_path / "payload").splitlines()
    assert [line[:1] for line in listed if b"/file" in line] == [b"-", b"h", b"h", b"h"]
