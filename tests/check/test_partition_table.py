"""Tables that libfdisk wrote are read back, of each kind and size of sector.

Without these tests, a table that firmware reads in another way would pass for a good one.
"""

import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from assembler.check import libparted
from assembler.check.image import check_image
from assembler.check.partition_table import read_table
from assembler.disk.tables import Table
from assembler.errors import HostError
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
            (part.name, str(part.type)) for part in layout.partitions
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


@pytest.mark.parametrize("table", [Table.EFI, Table.LEGACY, Table.HYBRID])
def test_libparted_must_read_the_same(tmp_path: Path, table: Table) -> None:
    """It is compared with what sfdisk reads, so each can be wrong alone."""
    image = tmp_path / "disk"
    make(image, table, 8 * MIB)
    found = read_table(image)
    assert found is not None
    assert libparted.table_faults(image, found.kind, found.parts) == []
    first, *others = found.parts
    moved = [replace(first, start=first.start + MIB), *others]
    [line] = libparted.table_faults(image, found.kind, moved)
    assert line.startswith("libparted reads other partitions: ")
    [line] = libparted.table_faults(image, "dos" if table.is_gpt else "gpt", found.parts)
    assert line.startswith("libparted reads a table of type ")


def test_what_libparted_cannot_read(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(bytes(MIB))
    [line] = libparted.table_faults(image, "gpt", [])
    assert line.startswith("libparted cannot read it: ")


def test_a_host_without_libparted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libparted, "_BINDING", "no_such_module")
    assert "python3-parted (Debian)" in libparted.problems()[0]
    with pytest.raises(HostError, match="python3-parted"):
        libparted.table_faults(tmp_path, "gpt", [])


@pytest.mark.parametrize("code", ["os.abort()", ""])
def test_whether_libparted_or_the_table_is_at_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """One that dies when it is loaded shows nothing about the image."""
    dying = "import os\nDisk = device_get = lambda *_: os.abort()\n"
    (tmp_path / "_ped.py").write_text(f"{dying}{code}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "_ped", raising=False)  # another test may have loaded it
    (tmp_path / "disk").write_bytes(b"")
    with pytest.raises(HostError, match="libparted cannot be loaded") if code else nullcontext():
        assert libparted.table_faults(tmp_path / "disk", "gpt", []) == [
            "libparted does not survive it"
        ]
