"""The boot code for BIOS has the bytes that grub-bios-setup writes.

Without these tests, a machine with BIOS can stop before GRUB shows anything.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assembler.boot.grub.bios import BiosCode, core_problems, embed
from assembler.boot.grub.find import find_grub
from assembler.boot.grub.grub import BIOS, make_core_image
from assembler.disk.layout import Layout, make_layout
from assembler.disk.table_writer import write_table
from assembler.disk.tables import PartitionType, Table
from assembler.errors import HostError
from assembler.store.paths import StoreRoot
from assembler.units import MIB, SECTOR
from tests.support.grub_setup import grub_bios_setup

MBR = bytes(range(256)) * 2
BIOS_TABLES = [Table.LEGACY, Table.LEGACY_GPT, Table.HYBRID]
BOOT_UUID = "6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f"

Images = tuple[bytes, bytes]


@pytest.fixture(scope="module")
def images() -> Images:
    """GRUB's real boot.img and core.img."""
    grub = find_grub(BIOS, StoreRoot(), [])
    return grub.boot_img, make_core_image(grub, BOOT_UUID, "ext2", "/boot/grub")


def layout_of(table: Table, sector_size: int = SECTOR) -> Layout:
    return make_layout(
        table,
        root_size=MIB,
        boot_size=MIB,
        seed=lambda name: uuid5(NAMESPACE_DNS, name),
        sector_size=sector_size,
    )


def with_room(layout: Layout, sectors: int) -> Layout:
    """The same layout, with so many sectors for the core image."""
    if layout.table is Table.LEGACY:
        root = layout.root
        start = (1 + sectors) * SECTOR
        return replace(layout, partitions=(replace(root, start=start, size=root.end - start),))
    return replace(
        layout,
        partitions=tuple(
            replace(one, size=sectors * SECTOR) if one.type is PartitionType.BIOS_BOOT else one
            for one in layout.partitions
        ),
    )


def new_disk(path: Path, layout: Layout) -> None:
    with path.open("wb") as file:
        file.truncate(layout.size)
    write_table(path, layout)
    # Where an old boot sector lies, its parameters and disk signature stay.
    with path.open("r+b") as file:
        file.seek(3)
        file.write(b"BPB" * 29)
        file.seek(0x1B8)
        file.write(b"\x12\x34\x56\x78")


def compare(directory: Path, layout: Layout, images: Images) -> None:
    """Install onto two disks, once as we do, and once as GRUB does; both must be equal."""
    ours, theirs = directory / "ours.raw", directory / "theirs.raw"
    new_disk(ours, layout)
    new_disk(theirs, layout)
    blank = ours.read_bytes()
    assert blank == theirs.read_bytes()
    grub_bios_setup(directory / "setup", theirs, *images, "--no-rs-codes")
    BiosCode(*images).install(ours, layout)
    assert ours.read_bytes() == theirs.read_bytes() != blank


def longer(core_img: bytes, sectors: int, more: int = 0) -> bytes:
    """A core image made so many sectors and bytes long; GRUB itself does not mind."""
    size = sectors * SECTOR + more
    assert size >= len(core_img)
    filler = bytes(byte * byte // 7 & 0xFF for byte in range(size - len(core_img)))
    return core_img + filler


@pytest.mark.parametrize("table", BIOS_TABLES)
def test_the_disk_is_what_grub_bios_setup_makes(
    tmp_path: Path, images: Images, table: Table
) -> None:
    compare(tmp_path, layout_of(table), images)


@pytest.mark.parametrize("table", BIOS_TABLES)
@pytest.mark.parametrize("spare", [1, 2, 100])
def test_it_is_so_where_room_is_scarce(
    tmp_path: Path, images: Images, table: Table, spare: int
) -> None:
    sectors = -(-len(images[1]) // SECTOR)
    compare(tmp_path, with_room(layout_of(table), sectors + spare), images)


@settings(max_examples=15)
@given(st.integers(400, 887), st.integers(0, 511))
@example(887, 0)
@example(886, 1)
@example(887, 512)
def test_it_is_so_for_any_size_of_core_image(images: Images, sectors: int, more: int) -> None:
    boot_img, core_img = images
    core_img = longer(core_img, sectors, more)
    with tempfile.TemporaryDirectory() as name:
        compare(Path(name), layout_of(Table.LEGACY), (boot_img, core_img))


def test_the_boot_sector_keeps_what_belongs_to_the_disk(images: Images) -> None:
    boot, core = embed(*images, core_lba=2048, mbr=MBR, room=2048)
    assert len(boot) == SECTOR
    assert boot[3:0x5A] == MBR[3:0x5A]
    assert boot[0x1B8:0x1FE] == MBR[0x1B8:0x1FE]
    assert boot[0x1FE:] == b"\x55\xaa"
    assert boot[0x5C:0x64] == (2048).to_bytes(8, "little")
    assert boot[0x66:0x68] == b"\x90\x90"
    assert len(core) % SECTOR == 0
    sectors = len(core) // SECTOR
    assert core[0x1F4:0x1FC] == (2049).to_bytes(8, "little")
    assert core[0x1FC:0x1FE] == (sectors - 1).to_bytes(2, "little")
    assert core[0x1FE:0x200] == b"\x20\x08"
    assert core[SECTOR:].rstrip(b"\0") == images[1][SECTOR:].rstrip(b"\0")


def test_embedding_twice_changes_nothing(images: Images) -> None:
    boot, core = embed(*images, core_lba=2048, mbr=MBR, room=2048)
    assert embed(boot, core, core_lba=2048, mbr=boot, room=2048) == (boot, core)


TOO_LONG = (
    "GRUB's core image has 891 sectors, 3 more than the 888 that GRUB can load: build fewer "
    "modules into it"
)
FEWER = "make it larger, or build fewer modules into the core image"


@pytest.mark.parametrize(
    ("table", "room", "size", "problems"),
    [
        (Table.LEGACY, 2047, 300 * SECTOR, []),
        (Table.LEGACY, 2047, 890 * SECTOR + 1, [TOO_LONG]),
        (Table.LEGACY_GPT, 2048, 891 * SECTOR, [TOO_LONG]),
        (
            Table.LEGACY,
            62,
            300 * SECTOR,
            [f"the gap after the MBR has 62 sectors, 238 fewer than GRUB's core image: {FEWER}"],
        ),
        (
            Table.LEGACY_GPT,
            299,
            299 * SECTOR + 1,
            [f"the BIOS boot partition has 299 sectors, 1 fewer than GRUB's core image: {FEWER}"],
        ),
        (
            Table.HYBRID,
            888,
            891 * SECTOR,
            [
                TOO_LONG,
                f"the BIOS boot partition has 888 sectors, 3 fewer than GRUB's core image: {FEWER}",
            ],
        ),
    ],
)
def test_each_problem_is_told_with_what_to_do(
    table: Table, room: int, size: int, problems: list[str]
) -> None:
    assert core_problems(with_room(layout_of(table), room), size) == problems


@pytest.mark.parametrize("table", [Table.EFI, Table.EFIXBOOTLDR, Table.NONE])
def test_a_table_for_uefi_alone_has_no_place(table: Table) -> None:
    assert core_problems(layout_of(table), 300 * SECTOR) == [
        f"the partition table {table} has no place for GRUB's core image for BIOS: "
        "use legacy, legacy+boot, legacy+gpt or hybrid"
    ]


def test_large_sectors_are_not_for_bios() -> None:
    assert core_problems(layout_of(Table.HYBRID, 4096), 300 * SECTOR) == [
        "GRUB for BIOS reads only disks with sectors of 512 bytes, and this one's have 4096: "
        "boot it by UEFI"
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (Table.LEGACY, "the gap after the MBR has 200 sectors"),
        (Table.HYBRID, "the BIOS boot partition has 200 sectors"),
        (Table.EFI, "the partition table efi has no place"),
    ],
)
def test_nothing_is_written_where_there_is_a_problem(
    tmp_path: Path, images: Images, table: Table, message: str
) -> None:
    image = tmp_path / "disk.raw"
    new_disk(image, layout_of(table))
    before = image.read_bytes()
    with pytest.raises(HostError, match=f"^{message}"):
        BiosCode(*images).install(image, with_room(layout_of(table), 200))
    assert image.read_bytes() == before


@given(st.integers(0, 2000 * SECTOR), st.integers(0, 1000))
@example(888 * SECTOR, 888)
@example(888 * SECTOR + 1, 889)
def test_any_image_is_embedded_or_refused(images: Images, size: int, room: int) -> None:
    boot_img, core_img = images
    core_img = core_img[:size].ljust(size, b"x")
    sectors = -(-size // SECTOR)
    if 2 <= sectors <= min(room, 888) and size > 20 * SECTOR:
        boot, core = embed(boot_img, core_img, core_lba=34, mbr=MBR, room=room)
        assert len(boot) == SECTOR
        assert len(core) == SECTOR * sectors
        assert core[4 * SECTOR : size] == core_img[4 * SECTOR :]
    elif sectors > min(room, 888):
        with pytest.raises(HostError, match=rf"has {sectors} sectors where {min(room, 888)} are"):
            embed(boot_img, core_img, core_lba=34, mbr=MBR, room=room)


@pytest.mark.parametrize("boot_size", [0, 511, 513])
def test_a_boot_image_of_a_wrong_size_is_refused(boot_size: int, images: Images) -> None:
    with pytest.raises(HostError, match=rf"boot\.img has {boot_size} bytes instead of 512"):
        embed(bytes(boot_size), images[1], core_lba=1, mbr=MBR, room=2047)


@pytest.mark.parametrize("core", [b"", bytes(4096), b"\xff" * 4096])
def test_what_is_no_core_image_is_refused(core: bytes, images: Images) -> None:
    with pytest.raises(HostError, match="not for i386-pc"):
        embed(images[0], core, core_lba=1, mbr=MBR, room=2047)


@pytest.mark.parametrize("unprotected", [b"\xff\xff", b"\xfe\xff"])
def test_a_core_image_of_another_version_is_refused(unprotected: bytes, images: Images) -> None:
    boot_img, core_img = images
    core_img = core_img[:0x214] + unprotected + core_img[0x216 : 30 * SECTOR]
    with pytest.raises(HostError, match="not for i386-pc"):
        embed(boot_img, core_img, core_lba=1, mbr=MBR, room=2047)
