"""Archives of a tree, unpacked by GNU tar in the order that the appliance keeps, are the tree."""

import os
import random
import stat
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.filesystems.guestfs.payload import write_payload
from assembler.host.progress import Step
from assembler.tree.tree import Directory, Tree, regular
from tests.filesystems.test_guestfs_archive import unpack
from tests.support.helpers import directory, output
from tests.support.trees import random_trees


def shown(tree: Tree, top: Path) -> dict[bytes, object]:
    """For each path of the tree what a directory shows; what else is there has None."""
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
    """What `shown` must find."""
    made: dict[bytes, object] = {}
    for path, node in tree.walk():
        if isinstance(node, Directory):
            made[path] = [stat.S_IFDIR | node.mode, node.mtime]
        else:
            links = tree.names[node.group] if node.group else 1
            made[path] = [node.kind | node.mode, node.mtime, links, node.size]
    return made


@settings(max_examples=40)  # each is some runs of tar
@given(random_trees(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_unpacked_it_is_the_tree(tree: Tree, lanes: int, order: random.Random) -> None:
    with directory() as scratch:
        *first, last = write_payload(scratch, tree, lanes, Step(None))
        assert 1 <= len(first) <= lanes
        order.shuffle(first)
        for archive in (*first, last):
            unpack(archive, scratch / "top")
        assert shown(tree, scratch / "top") == wanted(tree)


def test_names_of_one_file_in_several_lanes(tmp_path: Path) -> None:
    tree = Tree()
    group = tree.new_group()
    for number in range(4):
        file = regular(bytes(100_000))._replace(group=group)
        tree.add(b"/nix/store/%d/file" % number, file)
    *first, last = write_payload(tmp_path, tree, 2, Step(None))
    assert len(first) == 2
    whole = sum(output("tar", "-tf", archive).count(b"/file\n") for archive in first)
    assert (whole, output("tar", "-tf", last).count(b"/file\n")) == (1, 3)
