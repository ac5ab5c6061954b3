import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from assembler.disk.layout import Layout, hybrid
from assembler.disk.table import write_table
from assembler.errors import HostError
from assembler.process import search_path
from assembler.units import MIB

GUIDS = {
    "disk": UUID("0f1e2d3c-4b5a-4697-8899-aabbccddeeff"),
    "partition 1": UUID("11111111-2222-4333-8444-555555555551"),
    "partition 2": UUID("11111111-2222-4333-8444-555555555552"),
    "partition 3": UUID("11111111-2222-4333-8444-555555555553"),
}

# From `parted mklabel gpt mkpart ESP fat32 … set 1 boot on mkpart no-fs … set 2 bios_grub on
# mkpart primary ext4 …` and sgdisk's --disk-guid and --partition-guid, as nixpkgs calls them.
EXPECTED = """\
label: gpt
label-id: 0F1E2D3C-4B5A-4697-8899-AABBCCDDEEFF
device: disk.raw
unit: sectors
first-lba: 34
last-lba: 675806
sector-size: 512

disk.raw1 : start=       16384, size=      524288, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, \
uuid=11111111-2222-4333-8444-555555555551, name="ESP"
disk.raw2 : start=        2048, size=       14336, type=21686148-6449-6E6F-744E-656564454649, \
uuid=11111111-2222-4333-8444-555555555552, name="no-fs"
disk.raw3 : start=      540672, size=      133120, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, \
uuid=11111111-2222-4333-8444-555555555553, name="primary"
"""


@pytest.fixture
def layout() -> Layout:
    return hybrid(65 * MIB, 256 * MIB, GUIDS.__getitem__)


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


def test_sfdisk_reads_what_was_asked_for(tmp_path: Path, layout: Layout) -> None:
    make(tmp_path / "disk.raw", layout)
    assert tool("sfdisk", "--dump", "disk.raw", cwd=tmp_path) == EXPECTED


def test_foreign_checkers_are_content(tmp_path: Path, layout: Layout) -> None:
    make(tmp_path / "disk.raw", layout)
    assert "No errors detected" in tool("sfdisk", "--verify", "disk.raw", cwd=tmp_path)
    assert "No problems found" in tool("sgdisk", "-v", "disk.raw", cwd=tmp_path)


def test_the_bytes_depend_on_the_layout_alone(tmp_path: Path) -> None:
    layout = hybrid(MIB, MIB, GUIDS.__getitem__)
    make(tmp_path / "a", layout)
    make(tmp_path / "b", layout)
    assert tool("cmp", "a", "b", cwd=tmp_path) == ""


def test_what_lies_in_partitions_stays(tmp_path: Path, layout: Layout) -> None:
    image = tmp_path / "disk.raw"
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


def test_a_file_that_cannot_be_written_is_the_hosts_fault(tmp_path: Path, layout: Layout) -> None:
    with pytest.raises(HostError, match="cannot write a partition table"):
        write_table(tmp_path / "absent", layout)
