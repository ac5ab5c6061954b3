"""How large the partitions become: by what goes in, or within a size that is asked for."""

from collections.abc import Callable
from dataclasses import replace

from assembler.disk.layout import Layout
from assembler.disk.tables import LayoutRules
from assembler.errors import Message, RequestError, Setting
from assembler.filesystems.demand import Demand, largest_paths
from assembler.filesystems.kind import Size
from assembler.spec import Spec
from assembler.tree.tree import Tree, show
from assembler.units import BLOCK, exact_sizes, format_size, round_up

_LARGEST = 5  # paths to name when an image is too small
# What make-disk-image.nix adds for an ext4: blocks for each inode, and a part of the whole.
_NIXPKGS_INODE, _NIXPKGS_PART = 2, 0.052


def decide_sizes(
    spec: Spec, tree: Tree, demand: Demand, layout_of: Callable[[int], Layout]
) -> tuple[Layout, Size]:
    """The layout of the disk and the size of the root file system.

    `layout_of` lays a disk out for a root of so many bytes. Raises RequestError for a size that
    cannot hold the tree, or that the file system cannot have.
    """
    sizes, limit = spec.kind.sizes, spec.kind.limits.size
    if spec.size is None:
        size = sizes.with_free(demand, spec.additional_space + _usual_space(spec, demand))
        if size.bytes > limit:
            made, most = exact_sizes(size.bytes, limit)
            why = f" makes a root of {made}, and {spec.kind.title} ends at {most}"
            space = Setting("additional_space", format_size(spec.additional_space))
            raise RequestError([Message(space, why)])
        layout = layout_of(size.bytes)
        if not layout.size % spec.size_unit:
            return layout, size
        spec = replace(spec, size=round_up(layout.size, spec.size_unit))
    assert spec.size is not None
    room = spec.size - layout_of(0).size
    if (missing := sizes.least(demand) - room) > 0:
        raise RequestError(_too_small(tree, spec.size, missing))
    return layout_of(room), sizes.within(demand, room)


def _usual_space(spec: Spec, demand: Demand) -> int:
    """The bytes that are free in nixpkgs' images without any additional space.

    Systems start from such images because of them.
    """
    if spec.layout is LayoutRules.OWN:
        return 0
    inodes = _NIXPKGS_INODE * demand.inodes
    return (inodes + int((demand.blocks + inodes) * _NIXPKGS_PART)) * BLOCK


def _too_small(tree: Tree, size: int, missing: int) -> list[str]:
    """The message for an image that cannot hold its tree."""
    return [
        Message(
            Setting("size", format_size(size)),
            f" is too small: {format_size(missing)} are missing",
        ),
        "the largest of what should go in:",
        *(f"  {format_size(n):>10}  {show(path)}" for n, path in largest_paths(tree, _LARGEST)),
    ]
