"""A root that becomes larger than its file system can be is refused before anything is made.

Without these tests, users learn of a root that is too large from mkfs, in the middle of a run.
"""

from pathlib import Path

import pytest

from assembler.disk.layout import Layout, make_layout
from assembler.disk.tables import LayoutRules
from assembler.errors import RequestError
from assembler.filesystems.demand import Demand
from assembler.plan.sizes import decide_sizes
from assembler.spec import RootSpec, Spec
from assembler.tree.tree import Tree
from assembler.units import BLOCK, MIB, TIB
from tests.support.systems import store_path
from tests.support.trees import SEED

DEMAND = Demand(1 << 20, 1000, 1 << 32)


def layout_of(root_size: int) -> Layout:
    spec = asked("ext4", 0)
    return make_layout(spec.table, root_size=root_size, boot_size=64 * MIB, seed=lambda _: SEED)


def asked(kind: str, space: int) -> Spec:
    root = RootSpec(system=store_path(1, "nixos-system"))
    return Spec(root=root, out=Path("/x"), file_system=kind, additional_space=space)


@pytest.mark.parametrize(
    ("kind", "space", "line"),
    [
        ("ext4", 8 * TIB, "additional_space 8.0 TiB makes a root of 8.1 TiB, and ext4 ends at "),
        ("f2fs", 15 * TIB, "additional_space 15.0 TiB makes a root of 16.8 TiB, and f2fs ends at "),
        ("xfs", (1 << 63) - MIB, "additional_space 8388608.0 TiB makes a root of "),
    ],
)
def test_free_space_that_makes_the_root_too_large(kind: str, space: int, line: str) -> None:
    with pytest.raises(RequestError) as caught:
        decide_sizes(asked(kind, space), Tree(), DEMAND, layout_of)
    [problem] = caught.value.problems
    assert problem.startswith(line)


def test_the_layout_of_nixpkgs_has_its_usual_space() -> None:
    """Without it, an image with no additional space has no room for what a first boot writes."""
    root = RootSpec(system=store_path(1, "nixos-system"))
    own = Spec(root=root, out=Path("/x"), additional_space=0)
    theirs = Spec(root=root, out=Path("/x"), additional_space=0, layout=LayoutRules.NIXPKGS)
    sizes = [decide_sizes(spec, Tree(), DEMAND, layout_of)[1].bytes for spec in (own, theirs)]
    assert 0.052 * DEMAND.blocks * BLOCK < sizes[1] - sizes[0] < 0.06 * DEMAND.blocks * BLOCK


@pytest.mark.parametrize(
    ("kind", "space"), [("ext4", 7 * TIB), ("f2fs", 14 * TIB), ("xfs", 20 * TIB)]
)
def test_free_space_that_fits(kind: str, space: int) -> None:
    layout, size = decide_sizes(asked(kind, space), Tree(), DEMAND, layout_of)
    assert space < size.bytes <= layout.root.size
