"""Layouts: places and sizes of partitions, against nixpkgs and the rules of firmware.

Without these tests, partitions can overlap, or the firmware does not find the one that it starts
from.
"""

from uuid import NAMESPACE_DNS, UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.disk.layout import Layout, gpt_problems, make_layout
from assembler.disk.tables import LayoutRules, Table
from assembler.errors import RequestError
from assembler.machines import Machine
from assembler.units import GIB, MIB, SECTOR

# Number, name, start and size in MiB, as in nixpkgs' make-disk-image.nix. There the BIOS boot
# partition of `hybrid` begins at 0, and parted moves it to 17 KiB.
PLACES = {
    Table.LEGACY: [(1, "primary", 1, 1024)],
    Table.LEGACY_BOOT: [(1, "primary", 1, 256), (2, "primary", 257, 1024)],
    Table.LEGACY_GPT: [(1, "no-fs", 1, 1), (2, "primary", 2, 1024)],
    Table.EFI: [(1, "ESP", 8, 256), (2, "primary", 264, 1024)],
    Table.EFIXBOOTLDR: [(1, "ESP", 8, 92), (2, "BOOT", 100, 256), (3, "ROOT", 356, 1024)],
    Table.HYBRID: [(1, "ESP", 8, 256), (2, "no-fs", 1, 7), (3, "primary", 264, 1024)],
    Table.NONE: [(0, "primary", 0, 1024)],
}

# First sector and sectors of what parted 3.6 makes with the commands of nixpkgs'
# make-disk-image.nix, on a disk of 1000 MiB with a bootSize of 256M.
IN_NIXPKGS = {
    Table.LEGACY: [(2048, 2045952)],
    Table.LEGACY_BOOT: [(2048, 524288), (526336, 1521664)],
    Table.LEGACY_GPT: [(2048, 2048), (4096, 2041856)],
    Table.EFI: [(16384, 509952), (526336, 1519616)],
    Table.EFIXBOOTLDR: [(16384, 188416), (204800, 321536), (526336, 1519616)],
    Table.HYBRID: [(16384, 509952), (34, 2014), (526336, 1519616)],
    Table.NONE: [(0, 2048000)],
}


def seed(name: str) -> UUID:
    return uuid5(NAMESPACE_DNS, name)


def new_layout(table: Table, root: int = GIB, boot: int = 256 * MIB) -> Layout:
    return make_layout(table, root_size=root, boot_size=boot, seed=seed)


@pytest.mark.parametrize("table", Table)
def test_partitions_lie_as_in_nixpkgs(table: Table) -> None:
    layout = new_layout(table)
    assert [
        (one.number, one.name, one.start // MIB, one.size // MIB) for one in layout.partitions
    ] == PLACES[table]
    assert layout.size == layout.root.end + (0 if table is Table.NONE else MIB)


@pytest.mark.parametrize("table", Table)
def test_the_layout_of_nixpkgs_is_the_one_of_parted(table: Table) -> None:
    """A system that nixpkgs' image booted by a partition's number or place boots this one."""

    def layout(root: int) -> Layout:
        rules = LayoutRules.NIXPKGS
        return make_layout(table, root_size=root, boot_size=256 * MIB, seed=seed, rules=rules)

    found = layout(1000 * MIB - layout(0).size)
    assert found.size == 1000 * MIB
    places = [(one.start // SECTOR, one.size // SECTOR) for one in found.partitions]
    assert places == IN_NIXPKGS[table]
    assert [one.name for one in found.partitions] == [name for _, name, *_ in PLACES[table]]


@pytest.mark.parametrize(("end", "whole"), [(8 * MIB, 9), (9 * MIB - 1, 9), (9 * MIB, 10)])
def test_a_boot_partition_of_nixpkgs_ends_in_the_next_mib(end: int, whole: int) -> None:
    rules = LayoutRules.NIXPKGS
    layout = make_layout(Table.EFI, root_size=MIB, boot_size=end, seed=seed, rules=rules)
    assert layout.root.start == whole * MIB


def test_a_boot_partition_that_would_end_before_it_begins() -> None:
    rules = LayoutRules.NIXPKGS
    with pytest.raises(RequestError) as caught:
        make_layout(Table.EFIXBOOTLDR, root_size=MIB, boot_size=64 * MIB, seed=seed, rules=rules)
    assert str(caught.value) == (
        "boot_size 64.0 MiB is where the partition BOOT ends, which begins at 100.0 MiB: take more"
    )


def test_guids_that_a_table_cannot_have() -> None:
    one, two = UUID(int=1), UUID(int=2)
    assert gpt_problems(Table.EFI, one, [(1, one), (2, two)]) == []
    assert gpt_problems(Table.EFI, None, [(2, one), (3, one), (2, two)]) == [
        f"partition_guids 3={one}: partition_table efi has 1 to 2",
        "partition_guids: the number 2 is given twice",
        f"partition_guids: the GUID {one} is given twice",
    ]
    assert gpt_problems(Table.LEGACY, one, [(1, one)]) == [
        "disk_guid is for a GPT, which partition_table legacy does not make; the signature of an "
        "MBR comes from root_partuuid SIGNATURE-NN",
        "partition_guids is for a GPT, which partition_table legacy does not make",
    ]


@pytest.mark.parametrize("table", Table)
def test_a_table_has_the_partitions_that_its_firmware_needs(table: Table) -> None:
    layout = new_layout(table)
    assert (layout.esp is not None) == table.boots_efi
    assert (layout.core_area is not None) == table.boots_bios
    assert (layout.bios_boot is not None) == (table.boots_bios and table.is_gpt)
    assert (layout.xbootldr is not None) == table.has_boot_partition


def test_the_core_image_of_grub_has_a_place() -> None:
    for table in (Table.LEGACY, Table.LEGACY_BOOT):
        assert new_layout(table).core_area == (SECTOR, 2047 * SECTOR)
    assert new_layout(Table.LEGACY_GPT).core_area == (MIB, MIB)
    assert new_layout(Table.HYBRID).core_area == (MIB, 7 * MIB)


def test_every_guid_is_its_own() -> None:
    layout = new_layout(Table.EFIXBOOTLDR)
    guids = {layout.disk_guid, *(partition.guid for partition in layout.partitions)}
    assert len(guids) == 4
    assert layout == new_layout(Table.EFIXBOOTLDR)


def test_a_disk_signature_is_never_zero() -> None:
    def with_guid(guid: UUID) -> int:
        return make_layout(
            Table.LEGACY, root_size=MIB, boot_size=0, seed=lambda _name: guid
        ).disk_signature

    assert with_guid(UUID("00000000-0000-0000-0000-00009abcdef0")) == 0x9ABCDEF0
    assert with_guid(UUID("11111111-0000-0000-0000-000000000000")) == 1


def test_the_root_is_of_the_type_of_its_machine() -> None:
    layout = make_layout(
        Table.EFI,
        root_size=MIB,
        boot_size=MIB,
        seed=seed,
        root_type=Machine.AA64.facts.root_type,
    )
    assert layout.root.type == "b921b045-1df0-41c3-af44-4c6f280d3fae"


@given(table=st.sampled_from(Table), root=st.integers(1, 1 << 44), boot=st.integers(1, 1 << 12))
def test_partitions_are_aligned_and_do_not_overlap(table: Table, root: int, boot: int) -> None:
    if table.is_mbr:
        root = min(root, 2**41 - (boot + 3) * MIB)
    layout = new_layout(table, root, boot * MIB)
    assert root <= layout.root.size < root + MIB
    end = 0 if table is Table.NONE else MIB
    for partition in sorted(layout.partitions, key=lambda partition: partition.start):
        assert partition.start >= end
        assert partition.start % MIB == partition.size % MIB == 0
        end = partition.end
    assert layout.size - end == (0 if table is Table.NONE else MIB)


def test_a_disk_too_large_for_an_mbr_is_refused() -> None:
    most = 2**41 - 3 * MIB
    assert new_layout(Table.LEGACY, most).size == 2**41 - MIB
    with pytest.raises(RequestError) as caught:
        new_layout(Table.LEGACY, most + 1)
    assert str(caught.value) == (
        "a disk of 2.0 TiB (2199023255552 bytes) is too large for an MBR, which ends at 2.0 TiB "
        "(2199023255040 bytes): take partition_table legacy+gpt"
    )
    new_layout(Table.LEGACY_GPT, most + 1)


def test_partitions_can_have_other_names() -> None:
    guid = UUID(int=0x0BADCAFE)
    layout = new_layout(Table.HYBRID).with_names({1: "disk-main-ESP"}, {3: guid}, disk_guid=guid)
    assert [one.name for one in layout.partitions] == ["disk-main-ESP", "no-fs", "primary"]
    assert layout.disk_guid == layout.root.guid == guid
    assert new_layout(Table.LEGACY).with_names({}, {}, signature=7).disk_signature == 7


@pytest.mark.parametrize("size", [0, -MIB, MIB + 1])
def test_a_boot_size_that_cannot_be_aligned_is_refused(size: int) -> None:
    with pytest.raises(RequestError, match="not a whole number of MiB"):
        new_layout(Table.HYBRID, GIB, size)
    with pytest.raises(RequestError, match="not a whole number of MiB"):
        new_layout(Table.LEGACY_BOOT, GIB, size)
    new_layout(Table.LEGACY, GIB, size)  # needs none
