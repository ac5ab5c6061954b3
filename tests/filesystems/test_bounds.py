"""The kernel leaves free at least the space that was asked for, and not much more.

Without these tests, an image can be too small for the space that was asked for.
"""

import os
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import pytest

from assembler.appliance.accelerator import Accelerator
from assembler.appliance.mounts import TARGET
from assembler.appliance.session import Appliance
from assembler.filesystems.btrfs import BTRFS
from assembler.filesystems.demand import measure
from assembler.filesystems.guestfs.writer import GuestfsWriter
from assembler.filesystems.kind import RootKind
from assembler.filesystems.protocol import RootFileSystem
from assembler.filesystems.xfs import XFS
from assembler.host.progress import Progress
from assembler.tree.tree import Directory, Tree, regular
from assembler.units import BLOCK, MIB
from tests.support.trees import SEED, host_file

pytestmark = [pytest.mark.emulated, pytest.mark.slow]

FREE = 128 * MIB


def many_inodes(_: Path) -> Tree:
    """A tree of 15,000 small files in 300 directories, some too large to lie in metadata."""
    tree = Tree()
    for number in range(300):
        holder = Directory()
        tree.put(tree.directory(b"/nix/store"), b"%032d-package" % number, holder)
        for file in range(50):
            content = b"%d" % file * (4000 if file % 5 == 0 else 40)
            holder.children[b"a file with a name of usual length %d" % file] = regular(content)
    return tree


def much_data(scratch: Path) -> Tree:
    """A tree of a dozen files of 32 MiB."""
    file = scratch / "data"
    file.write_bytes(os.urandom(32 * MIB))
    tree = Tree()
    for number in range(12):
        tree.add(b"/nix/store/%d/data" % number, host_file(file))
    return tree


@pytest.mark.parametrize("content", [many_inodes, much_data])
@pytest.mark.parametrize("kind", [BTRFS, XFS], ids=attrgetter("name"))
def test_what_is_left_free(kind: RootKind, content: Callable[[Path], Tree], tmp_path: Path) -> None:
    tree = content(tmp_path)
    demand = measure(tree)
    size, inodes = kind.sizes.with_free(demand, FREE)
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(size)
    target = RootFileSystem(
        offset=0,
        size=size,
        inodes=inodes,
        label="test",
        uuid=SEED,
        hash_seed=SEED,
        epoch=1,
        data=demand.data,
    )
    left = []

    def look(appliance: Appliance) -> None:
        printed = appliance.sh(f"sync -f {TARGET}; stat -f -c '%a %S' {TARGET}", what="looking")
        blocks, block = map(int, printed.split())
        left.append(blocks * block)

    with GuestfsWriter(kind, Accelerator.TCG, look).write(
        image, target, tree, Progress(quiet=True)
    ):
        pass
    assert left[0] >= FREE
    assert left[0] - FREE < 256 * MIB + demand.blocks * BLOCK // 5
