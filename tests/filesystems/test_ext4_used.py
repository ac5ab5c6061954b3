"""The used blocks of an ext4 are those that dumpe2fs does not list as free.

Without these tests, a block map could leave out data, or copy what nobody needs.
"""

import re
from pathlib import Path
from uuid import UUID

import pytest

from assembler.errors import HostError
from assembler.filesystems.ext4.mke2fs import make_ext4
from assembler.filesystems.ext4.used import used_by_ext4
from assembler.filesystems.protocol import RootFileSystem
from assembler.units import BLOCK, MIB
from tests.support.helpers import output


def root(offset: int, size: int) -> RootFileSystem:
    one = UUID(int=1)
    return RootFileSystem(
        offset=offset,
        size=size,
        inodes=2000,
        label="x",
        uuid=one,
        hash_seed=one,
        epoch=1,
        partition=1,
        sector_size=512,
        data=0,
        subvolumes=(),
    )


def free_by_dumpe2fs(image: Path) -> set[int]:
    """Newer releases of dumpe2fs take no offset: the file system must begin the file."""
    printed = output("/sbin/dumpe2fs", image).decode()
    runs = ",".join(re.findall(r"^ +Free blocks: (.*)$", printed, re.MULTILINE))
    pairs = re.findall(r"(\d+)(?:-(\d+))?", runs)
    return {one for first, last in pairs for one in range(int(first), int(last or first) + 1)}


@pytest.mark.parametrize("size", [40 * MIB, 300 * MIB])
@pytest.mark.parametrize("full", [False, True])
def test_used_and_free_blocks_are_all(tmp_path: Path, size: int, full: bool) -> None:
    image, offset = tmp_path / "image", 3 * MIB
    image.touch()
    made = root(offset, size)
    make_ext4(
        image, offset=0, size=size, inodes=2000, label="x", uuid=made.uuid, hash_seed=made.uuid,
        epoch=1,
    )  # fmt: skip
    if full:  # up to the last block
        source = tmp_path / "source"
        source.write_bytes(b"x" * (len(free_by_dumpe2fs(image)) * BLOCK // 2))
        requests = "\n".join(f"write {source} {name}" for name in ("a", "b", "c"))
        output("/sbin/debugfs", "-w", "-f", "-", image, stdin=requests.encode())
    free = free_by_dumpe2fs(image)
    shifted = tmp_path / "shifted"
    shifted.touch()
    output("dd", f"if={image}", f"of={shifted}", "bs=1M", "seek=3", "conv=sparse", "status=none")
    used = {
        (place - offset) // BLOCK
        for one in used_by_ext4(shifted, made)
        for place in range(one.start, one.stop, BLOCK)
    }
    assert used == set(range(size // BLOCK)) - free


def test_what_is_no_ext4(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(4 * MIB))
    with pytest.raises(HostError, match="bitmaps: Bad magic number in super-block"):
        list(used_by_ext4(image, root(0, 4 * MIB)))
