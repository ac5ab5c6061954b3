"""Tables that libfdisk wrote are read back, of each kind and size of sector."""

import os
from pathlib import Path

import pytest

from assembler.check.image import check_image
from assembler.check.partition_table import read_table
from assembler.disk.tables import Table
from assembler.units import MIB
from tests.support.boot_images import make


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize(
    "table", [Table.LEGACY_GPT, Table.EFI, Table.EFIXBOOTLDR, Table.HYBRID, Table.LEGACY]
)
def test_a_table(tmp_path: Path, table: Table, sector_size: int) -> None:
    if not table.is_gpt:
        sector_size = 512
    image = tmp_path / "disk"
    layout = make(image, table, 8 * MIB, sector_size)
    found = read_table(image)
    assert found is not None
    assert (found.kind, found.sector_size) == ("gpt" if table.is_gpt else "dos", sector_size)
    assert found.faults == ()
    assert [(one.number, one.start, one.size) for one in found.parts] == [
        (part.number, part.start, part.size) for part in layout.partitions
    ]
    if table.is_gpt:
        assert [(one.name, one.type_guid.lower()) for one in found.parts] == [
            (part.name, str(part.type.value)) for part in layout.partitions
        ]


@pytest.mark.parametrize("sector_size", [512, 4096])
def test_a_damaged_backup(tmp_path: Path, sector_size: int) -> None:
    image = tmp_path / "disk"
    layout = make(image, Table.EFI, 8 * MIB, sector_size)
    with image.open("r+b") as file:
        file.seek(layout.size - sector_size)
        file.write(bytes(sector_size))
    found = read_table(image)
    assert found is not None
    [fault] = found.faults
    assert fault.startswith("partition table: ")
    assert "backup GPT table is corrupt" in fault
    assert len(found.parts) == 2


@pytest.mark.parametrize("size", [0, 100, 1 << 20])
def test_no_table(tmp_path: Path, size: int) -> None:
    image = tmp_path / "disk"
    image.write_bytes(bytes(size))
    assert read_table(image) is None


def test_a_table_whose_end_is_cut_off(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    make(image, Table.EFI, 8 * MIB, 4096)
    with image.open("r+b") as file:
        file.truncate(10 * MIB)
    found = read_table(image)
    assert found is not None
    assert found.faults


def damage(image: Path, *places: int) -> None:
    with image.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(bytes(512))


@pytest.mark.parametrize("sector_size", [512, 4096])
def test_a_gpt_of_which_only_the_mbr_is_left(tmp_path: Path, sector_size: int) -> None:
    image = tmp_path / "disk"
    size = make(image, Table.HYBRID, 8 * MIB, sector_size).size
    damage(image, sector_size, size - sector_size)
    fault = "partition table: the GPT is missing, though the MBR speaks of one"
    assert check_image(image).faults == (fault,)


@pytest.mark.parametrize("lacking", [1, 512, 3 * MIB, 20 * MIB])
@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("table", [Table.EFI, Table.LEGACY_GPT])
def test_a_gpt_that_is_cut_off(
    tmp_path: Path, table: Table, sector_size: int, lacking: int
) -> None:
    image = tmp_path / "disk"
    os.truncate(image, make(image, table, 24 * MIB, sector_size).size - lacking)
    fault = f"the image is {lacking} bytes short of what its partition table says"
    assert check_image(image).faults == (fault,)


def test_an_mbr_that_is_cut_off(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    layout = make(image, Table.LEGACY, 8 * MIB)
    end = layout.root.start + layout.root.size
    os.truncate(image, end - 4096)
    fault = "the image is 4096 bytes short of what its partition table says"
    assert check_image(image).faults == (fault,)
    assert [part.number for part in check_image(image).parts] == [1]
