"""The computed size of an ext4 suffices for its tree, and is not much too large.

Without these tests, an image can be too small for its files, or much larger than they need.
"""

import re
import subprocess
import tempfile
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from assembler.filesystems.ext4.mke2fs import make_ext4
from assembler.filesystems.ext4.size import (
    free_after_mke2fs,
    inode_count,
    journal_blocks,
    overhead_blocks,
    smallest_ext4,
)
from assembler.host.process import search_path
from assembler.units import BLOCK, MIB

UUID_ONE = UUID("6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f")
BLOCKS_PER_MIB = MIB // BLOCK
LARGEST = 200 * 1024  # MiB


def mke2fs(mib: int, inodes: int) -> tuple[int, int, int]:
    """Blocks, free blocks and free inodes as dumpe2fs reports them after a real mke2fs."""
    with tempfile.NamedTemporaryFile() as image:
        image.truncate(mib * MIB)
        make_ext4(
            Path(image.name),
            offset=0,
            size=mib * MIB,
            inodes=inodes,
            label="size",
            uuid=UUID_ONE,
            hash_seed=UUID_ONE,
            epoch=1,
        )
        header = subprocess.run(
            ["dumpe2fs", "-h", image.name],
            env={"PATH": search_path()},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def field(name: str) -> int:
        match = re.search(rf"^{name}: +(\d+)$", header, re.MULTILINE)
        assert match is not None, header
        return int(match[1])

    return field("Block count"), field("Free blocks"), field("Free inodes")


@st.composite
def sizes(draw: st.DrawFn) -> int:
    """Sizes in MiB: evenly over the powers of two, and close above a whole block group."""
    if draw(st.booleans()):
        power = draw(st.integers(3, 16))
        return draw(st.integers(9, LARGEST)) % (1 << power) + (1 << power)
    return 128 * draw(st.integers(1, 400)) + draw(st.integers(0, 20))


@settings(max_examples=120, deadline=None)
@given(mib=sizes(), inodes=st.one_of(st.integers(100, 100_000), st.integers(100, 2_000_000)))
@example(mib=9, inodes=100)
@example(mib=LARGEST, inodes=2_000_000)
@example(mib=64 * 1024, inodes=500_000)  # the journal fills four extents exactly
@example(mib=128 * 1024, inodes=100)  # and here it needs eight
@example(mib=1025, inodes=100_000)  # mke2fs drops a last group of 1 MiB
def test_the_sum_is_what_mke2fs_does(mib: int, inodes: int) -> None:
    try:
        expected = free_after_mke2fs(mib * BLOCKS_PER_MIB, inodes)
    except ValueError:
        assume(False)
    _, *found = mke2fs(mib, inodes)
    assert tuple(found) == expected


@settings(max_examples=60, deadline=None)
@given(data=st.integers(0, 20_000_000), inodes=st.integers(1, 2_000_000))
def test_the_smallest_size_holds_what_it_must(data: int, inodes: int) -> None:
    mib = smallest_ext4(data, inodes) // MIB
    blocks, free_blocks, free_inodes = mke2fs(mib, inodes)
    assert blocks == mib * BLOCKS_PER_MIB, "mke2fs dropped the last group"
    assert free_blocks >= data
    assert free_inodes >= inodes


def holds(mib: int, data: int, inodes: int) -> bool:
    try:
        return free_after_mke2fs(mib * BLOCKS_PER_MIB, inodes)[0] >= data
    except ValueError:
        return False


@settings(max_examples=50, deadline=None)
@given(data=st.integers(0, 500_000), inodes=st.integers(1, 500_000))
def test_no_smaller_size_would_do(data: int, inodes: int) -> None:
    mib = smallest_ext4(data, inodes) // MIB
    assert holds(mib, data, inodes)
    assert not any(holds(smaller, data, inodes) for smaller in range(1, mib))


@pytest.mark.parametrize(
    ("mib", "inodes", "reason"),
    [
        (8, 100, "too small for a journal"),
        (10, 30_000, "no room"),
        (128, 40_000, "cannot hold"),
    ],
)
def test_what_mke2fs_would_not_make_so_is_refused(mib: int, inodes: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        overhead_blocks(mib * BLOCKS_PER_MIB, inodes)


def test_a_huge_file_system_is_sized_at_once() -> None:
    assert smallest_ext4(1 << 28, 5000) > BLOCK << 28
    assert journal_blocks(1 << 28) == 262144
    assert inode_count(100) == 111
