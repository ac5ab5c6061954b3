"""Partition tables that libfdisk writes, as sfdisk, sgdisk and libparted read them.

Without these tests, the firmware or the kernel can see other partitions than were asked for.
"""

import subprocess
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import parted
import pytest

from assembler.disk.layout import Layout, make_layout
from assembler.disk.table_writer import problems, write_table
from assembler.disk.tables import LayoutRules, Table
from assembler.errors import HostError
from assembler.host.process import search_path
from assembler.host.shared_objects import LIBFDISK
from assembler.units import MIB
from tests.support.places import AsRoot

GUIDS = {
    "disk": UUID("0f1e2d3c-4b5a-4697-8899-aabbccddeeff"),
    "partition 0": UUID("11111111-2222-4333-8444-555555555550"),
    "partition 1": UUID("11111111-2222-4333-8444-555555555551"),
    "partition 2": UUID("11111111-2222-4333-8444-555555555552"),
    "partition 3": UUID("11111111-2222-4333-8444-555555555553"),
}
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
XBOOTLDR = "BC13C2FF-59E6-4262-A352-B275FD6F7172"
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
ROOT = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
UUID1, UUID2, UUID3 = (f"11111111-2222-4333-8444-55555555555{number}" for number in "123")


def gpt(last: int, sector: int = 512, first: int = 34) -> str:
    return f"""\
label: gpt
label-id: 0F1E2D3C-4B5A-4697-8899-AABBCCDDEEFF
device: disk.raw
unit: sectors
first-lba: {first}
last-lba: {last}
sector-size: {sector}

"""


# What `sfdisk --dump` prints for a root of 65 MiB and a boot partition of 256 MiB.
DUMPS = {
    Table.LEGACY: """\
label: dos
label-id: 0xccddeeff
device: disk.raw
unit: sectors
sector-size: 512

disk.raw1 : start=        2048, size=      133120, type=83, bootable
""",
    Table.LEGACY_BOOT: """\
label: dos
label-id: 0xccddeeff
device: disk.raw
unit: sectors
sector-size: 512

disk.raw1 : start=        2048, size=      524288, type=c, bootable
disk.raw2 : start=      526336, size=      133120, type=83
""",
    Table.LEGACY_GPT: gpt(139230)
    + f"""\
disk.raw1 : start=        2048, size=        2048, type={BIOS_BOOT}, uuid={UUID1}, name="no-fs"
disk.raw2 : start=        4096, size=      133120, type={ROOT}, uuid={UUID2}, name="primary"
""",
    Table.EFI: gpt(675806)
    + f"""\
disk.raw1 : start=       16384, size=      524288, type={ESP}, uuid={UUID1}, name="ESP"
disk.raw2 : start=      540672, size=      133120, type={ROOT}, uuid={UUID2}, name="primary"
""",
    Table.EFIXBOOTLDR: gpt(864222)
    + f"""\
disk.raw1 : start=       16384, size=      188416, type={ESP}, uuid={UUID1}, name="ESP"
disk.raw2 : start=      204800, size=      524288, type={XBOOTLDR}, uuid={UUID2}, name="BOOT"
disk.raw3 : start=      729088, size=      133120, type={ROOT}, uuid={UUID3}, name="ROOT"
""",
    Table.HYBRID: gpt(675806)
    + f"""\
disk.raw1 : start=       16384, size=      524288, type={ESP}, uuid={UUID1}, name="ESP"
disk.raw2 : start=        2048, size=       14336, type={BIOS_BOOT}, uuid={UUID2}, name="no-fs"
disk.raw3 : start=      540672, size=      133120, type={ROOT}, uuid={UUID3}, name="primary"
""",
}
# The boot indicators of the four entries in the first sector.
ACTIVE = {
    Table.LEGACY: [0x80, 0, 0, 0],
    Table.LEGACY_BOOT: [0x80, 0, 0, 0],
    Table.LEGACY_GPT: [0x80, 0, 0, 0],
    Table.EFI: [0, 0, 0, 0],
    Table.EFIXBOOTLDR: [0, 0, 0, 0],
    Table.HYBRID: [0, 0, 0, 0],
}
FREE = {  # the free sectors that sgdisk reports, and the largest segment of them
    Table.LEGACY: "4029 free sectors (2.0 MiB) available in 2\nsegments, the largest of which is "
    "2015 (1007.5 KiB) in size.",
    Table.LEGACY_BOOT: "4029 free sectors (2.0 MiB) available in 2\nsegments, the largest of "
    "which is 2015 (1007.5 KiB) in size.",
    Table.LEGACY_GPT: "4029 free sectors (2.0 MiB) available in 2\nsegments, the largest of which "
    "is 2015 (1007.5 KiB) in size.",
    Table.EFI: "18365 free sectors (9.0 MiB) available in 2\nsegments, the largest of which is "
    "16350 (8.0 MiB) in size.",
    Table.EFIXBOOTLDR: "18365 free sectors (9.0 MiB) available in 2\nsegments, the largest of "
    "which is 16350 (8.0 MiB) in size.",
    Table.HYBRID: "4029 free sectors (2.0 MiB) available in 2\nsegments, the largest of which is "
    "2015 (1007.5 KiB) in size.",
}
TABLES = tuple(DUMPS)

EFI_4096 = """\
label: gpt
label-id: 0F1E2D3C-4B5A-4697-8899-AABBCCDDEEFF
device: {device}
unit: sectors
first-lba: 6
last-lba: 84474
sector-size: 4096

{device}p1 : start=        2048, size=       65536, type={esp}, uuid={uuid1}, name="ESP"
{device}p2 : start=       67584, size=       16640, type={root}, uuid={uuid2}, name="primary"
"""


def new_layout(table: Table, sector_size: int = 512) -> Layout:
    return make_layout(
        table,
        root_size=65 * MIB,
        boot_size=256 * MIB,
        seed=GUIDS.__getitem__,
        sector_size=sector_size,
    )


def make(path: Path, layout: Layout) -> Path:
    with path.open("wb") as file:
        file.truncate(layout.size)
    write_table(path, layout)
    return path


def tool(*argv: str, cwd: Path) -> str:
    done = subprocess.run(
        argv, cwd=cwd, env={"PATH": search_path()}, capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("table", TABLES)
def test_sfdisk_reads_what_was_asked_for(tmp_path: Path, table: Table) -> None:
    make(tmp_path / "disk.raw", new_layout(table))
    assert tool("sfdisk", "--dump", "disk.raw", cwd=tmp_path) == DUMPS[table]


@pytest.mark.parametrize("table", TABLES)
def test_foreign_checkers_are_content(tmp_path: Path, table: Table) -> None:
    make(tmp_path / "disk.raw", new_layout(table))
    assert tool("sfdisk", "--verify", "disk.raw", cwd=tmp_path).splitlines()[:2] == [
        "disk.raw:",
        "No errors detected.",
    ]
    assert tool("sgdisk", "-v", "disk.raw", cwd=tmp_path).endswith(
        f"No problems found. {FREE[table]}\n"
    )


def test_foreign_checkers_are_content_with_a_partition_right_behind_the_table(
    tmp_path: Path,
) -> None:
    """The BIOS boot partition of nixpkgs' hybrid layout begins in the first usable sector."""
    layout = make_layout(
        Table.HYBRID,
        root_size=65 * MIB,
        boot_size=256 * MIB,
        seed=GUIDS.__getitem__,
        rules=LayoutRules.NIXPKGS,
    )
    make(tmp_path / "disk.raw", layout)
    verified = tool("sfdisk", "--verify", "disk.raw", cwd=tmp_path).splitlines()
    assert verified[:2] == ["disk.raw:", "No errors detected."]
    assert "\nNo problems found. " in tool("sgdisk", "-v", "disk.raw", cwd=tmp_path)
    place = f"disk.raw2 : start=          34, size=        2014, type={BIOS_BOOT}, uuid={UUID2}"
    assert place in tool("sfdisk", "--dump", "disk.raw", cwd=tmp_path)


@pytest.mark.parametrize("table", TABLES)
def test_libparted_reads_the_same_places(tmp_path: Path, table: Table) -> None:
    layout = new_layout(table)
    disk = parted.newDisk(parted.getDevice(str(make(tmp_path / "disk.raw", layout))))
    assert disk.type == ("gpt" if table.is_gpt else "msdos")
    assert [(one.number, one.geometry.start, one.geometry.length) for one in disk.partitions] == [
        (one.number, one.start // 512, one.size // 512)
        for one in sorted(layout.partitions, key=lambda one: one.start)
    ]


@pytest.mark.parametrize("table", TABLES)
def test_a_partition_is_active_where_a_bios_wants_it(tmp_path: Path, table: Table) -> None:
    with make(tmp_path / "disk.raw", new_layout(table)).open("rb") as file:
        sector = file.read(512)
    assert [sector[0x1BE + 16 * entry] for entry in range(4)] == ACTIVE[table]
    assert sector[:0x1B8] == bytes(0x1B8)  # no boot code yet
    # The type of the first entry: the file system in an MBR, the whole disk in a protective one.
    types = {Table.LEGACY: 0x83, Table.LEGACY_BOOT: 0x0C}
    assert sector[0x1C2] == types.get(table, 0xEE)


def test_fdisk_reads_sectors_of_4096_bytes(tmp_path: Path) -> None:
    make(tmp_path / "disk.raw", new_layout(Table.EFI, 4096))
    columns = "Start,Sectors,Type-UUID,UUID,Name"
    listing = tool("fdisk", "-b", "4096", "-l", "-o", columns, "disk.raw", cwd=tmp_path)
    assert "Disk identifier: 0F1E2D3C-4B5A-4697-8899-AABBCCDDEEFF\n" in listing
    assert [line.split() for line in listing.splitlines()[-2:]] == [
        ["2048", "65536", ESP, UUID1, "ESP"],
        ["67584", "16640", ROOT, UUID2, "primary"],
    ]


def test_the_kernel_finds_partitions_on_a_disk_of_4096_byte_sectors(
    tmp_path: Path, as_root: AsRoot
) -> None:
    image = make(tmp_path / "disk.raw", new_layout(Table.EFI, 4096))
    loop = as_root("losetup", "--find", "--show", "--sector-size", "4096", "--partscan", image)
    device = loop.stdout.strip()
    try:
        dump = as_root("sfdisk", "--dump", device).stdout
        verified = as_root("sfdisk", "--verify", device).stdout
        checked = as_root("sgdisk", "-v", device).stdout
    finally:
        as_root("losetup", "--detach", device)
    assert dump == EFI_4096.format(device=device, esp=ESP, root=ROOT, uuid1=UUID1, uuid2=UUID2)
    assert verified.splitlines()[:2] == [f"{device}:", "No errors detected."]
    assert "No problems found. 2293 free sectors (9.0 MiB)" in checked


def test_a_bare_file_system_has_no_table(tmp_path: Path) -> None:
    image = make(tmp_path / "disk.raw", new_layout(Table.NONE))
    assert image.stat().st_size == 65 * MIB
    assert not any(image.read_bytes())


@pytest.mark.parametrize("table", TABLES)
def test_the_bytes_depend_on_the_layout_alone(tmp_path: Path, table: Table) -> None:
    layout = new_layout(table)
    make(tmp_path / "a", layout)
    make(tmp_path / "b", layout)
    assert tool("cmp", "a", "b", cwd=tmp_path) == ""


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("table", TABLES)
def test_what_lies_in_partitions_stays(tmp_path: Path, table: Table, sector_size: int) -> None:
    image = tmp_path / "disk.raw"
    layout = new_layout(table, sector_size)
    with image.open("wb") as file:
        file.truncate(layout.size)
        for partition in layout.partitions:
            for place in (partition.start, partition.end - 4):
                file.seek(place)
                file.write(b"data")
    write_table(image, layout)
    with image.open("rb") as file:
        for partition in layout.partitions:
            for place in (partition.start, partition.end - 4):
                file.seek(place)
                assert file.read(4) == b"data"


def test_a_file_that_cannot_be_written_is_the_hosts_fault(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot write the partition table: No such file"):
        write_table(tmp_path / "absent", new_layout(Table.HYBRID))


def test_a_library_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems() == []
    absent = replace(LIBFDISK, name="libfdisk.so.99")
    monkeypatch.setattr("assembler.disk.table_writer.LIBFDISK", absent)
    [line] = problems()
    assert line.startswith("the library libfdisk.so.99 cannot be loaded (")
    assert "it is in the package libfdisk1 (Debian) or util-linux" in line
