from uuid import NAMESPACE_DNS, UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.disk.layout import hybrid
from assembler.errors import RequestError
from assembler.units import GIB, MIB


def seed(name: str) -> UUID:
    return uuid5(NAMESPACE_DNS, name)


def test_hybrid_is_laid_out_as_in_nixpkgs() -> None:
    layout = hybrid(1 * GIB, 256 * MIB, seed)
    assert [(p.number, p.name, p.start // MIB, p.size // MIB) for p in layout.partitions] == [
        (1, "ESP", 8, 256),
        (2, "no-fs", 1, 7),
        (3, "primary", 264, 1024),
    ]
    assert layout.size == (264 + 1024 + 1) * MIB
    assert [layout.esp.number, layout.bios_boot.number, layout.root.number] == [1, 2, 3]


def test_every_guid_is_its_own() -> None:
    layout = hybrid(MIB, MIB, seed)
    guids = {layout.disk_guid, *(partition.guid for partition in layout.partitions)}
    assert len(guids) == 4
    assert layout == hybrid(MIB, MIB, seed)


@given(root=st.integers(1, 1 << 44), boot=st.integers(1, 1 << 12))
def test_partitions_are_aligned_and_do_not_overlap(root: int, boot: int) -> None:
    layout = hybrid(root, boot * MIB, seed)
    assert root <= layout.root.size < root + MIB
    assert layout.esp.size == boot * MIB
    end = MIB
    for partition in sorted(layout.partitions, key=lambda partition: partition.start):
        assert partition.start >= end
        assert partition.start % MIB == partition.size % MIB == 0
        end = partition.end
    assert layout.size - end == MIB


@pytest.mark.parametrize("size", [0, -MIB, MIB + 1])
def test_a_boot_size_that_cannot_be_aligned_is_refused(size: int) -> None:
    with pytest.raises(RequestError, match="not a whole number of MiB"):
        hybrid(GIB, size, seed)
