"""How large the partitions become: by what goes in, or within a size that is given."""

from collections.abc import Callable

from assembler.disk.layout import Layout
from assembler.errors import Message, RequestError, Setting
from assembler.filesystems import other_sizes
from assembler.filesystems.demand import Demand, largest_paths
from assembler.filesystems.ext4.size import free_after_mke2fs, smallest_ext4
from assembler.spec import Spec
from assembler.tree.tree import Tree, show
from assembler.units import BLOCK, MIB, ceil_div, format_size

_BYTES_PER_INODE = 16384  # inode_ratio in mke2fs.conf(5): what an ordinary ext4 has room for
_GROUP = 32768 * BLOCK  # bytes of an ext4 block group
_LARGEST = 5  # paths to name when an image is too small


def decide_sizes(
    spec: Spec, tree: Tree, demand: Demand, layout_of: Callable[[int], Layout]
) -> tuple[Layout, int, int]:
    """The layout, the bytes of the root file system and how many inodes it shall have free.

    `layout_of` lays a disk out for a root of so many bytes. Raises RequestError for a size that
    cannot hold the tree.
    """
    if spec.file_system != "ext4":
        return *_other_sizes(spec, tree, demand, layout_of), demand.inodes
    spare = demand.inodes // 4 + 1024  # for what the machine itself will write
    inodes = demand.inodes + spare
    if spec.size is None:
        wanted = demand.blocks + ceil_div(spec.additional_space, BLOCK)
        inodes = max(inodes, wanted * BLOCK // _BYTES_PER_INODE)
        root_size = smallest_ext4(wanted, inodes)
        return layout_of(root_size), root_size, inodes
    smallest = smallest_ext4(demand.blocks, inodes)
    room = spec.size - layout_of(0).size
    if room < smallest:
        raise RequestError(_too_small(tree, spec.size, smallest - room))
    layout = layout_of(room)
    usual = max(inodes, room // _BYTES_PER_INODE)
    root_size = _largest_ext4(room, smallest, usual)
    if root_size and free_after_mke2fs(root_size // BLOCK, usual)[0] >= demand.blocks:
        return layout, root_size, usual
    return layout, _largest_ext4(room, smallest, inodes), inodes


def _other_sizes(
    spec: Spec, tree: Tree, demand: Demand, layout_of: Callable[[int], Layout]
) -> tuple[Layout, int]:
    """The layout and the bytes of a root file system whose needs are known by bounds only."""
    free = spec.additional_space if spec.size is None else 0
    size = other_sizes.smallest(
        spec.file_system, blocks=demand.blocks, inodes=demand.inodes, free=free
    )
    if spec.size is not None:
        room = spec.size - layout_of(0).size
        if room < size:
            raise RequestError(_too_small(tree, spec.size, size - room))
        size = room
    layout = layout_of(size)
    return layout, layout.root.size


def _largest_ext4(room: int, smallest: int, inodes: int) -> int:
    """The most of `room` bytes that mke2fs can use: it leaves a last group of few blocks out.

    0 when nothing from `smallest` on has room for so many inodes.
    """
    for size in range(room, max(smallest, room - _GROUP) - MIB, -MIB):
        try:
            free_after_mke2fs(size // BLOCK, inodes)
        except ValueError:
            continue
        return size
    return 0


def _too_small(tree: Tree, size: int, missing: int) -> list[str]:
    """What to tell of an image that cannot hold its tree."""
    return [
        Message(
            Setting("size", format_size(size)),
            f" is too small: {format_size(missing)} are missing",
        ),
        "the largest of what should go in:",
        *(f"  {format_size(n):>10}  {show(path)}" for n, path in largest_paths(tree, _LARGEST)),
    ]
