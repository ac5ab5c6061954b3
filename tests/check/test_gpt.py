"""Damage to a GPT is found, also if the checksums are right.

Without these tests, a damaged GPT can pass the check, and the firmware finds no partition.
"""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from assembler.check.gpt import gpt_faults
from assembler.check.image import check_image
from assembler.check.partition_table import read_table
from assembler.cli.check_report import describe
from assembler.disk.tables import Table
from assembler.units import MIB
from tests.support.boot_images import make, poke

Change = Callable[[bytearray, bytearray], None]


def rewrite(
    image: Path, change: Change, sector: int = 512, copies: tuple[int, ...] = (0, 1)
) -> None:
    """Change header and entries of some copies, and set their checksums right."""
    last = image.stat().st_size // sector - 1
    places = ((1, 2), (last, last - 16384 // sector))
    with image.open("r+b") as file:
        for at, entries_at in (places[copy] for copy in copies):
            file.seek(entries_at * sector)
            entries = bytearray(file.read(16384))
            file.seek(at * sector)
            header = bytearray(file.read(sector))
            change(header, entries)
            struct.pack_into("<I", header, 88, zlib.crc32(entries))
            header[16:20] = bytes(4)
            struct.pack_into("<I", header, 16, zlib.crc32(header[:92]))
            file.seek(entries_at * sector)
            file.write(entries)
            file.seek(at * sector)
            file.write(header)


def put(form: str, at: int, *values: int | bytes, entries: bool = True) -> Change:
    return lambda header, array: struct.pack_into(form, array if entries else header, at, *values)


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("table", [Table.LEGACY_GPT, Table.EFI, Table.EFIXBOOTLDR, Table.HYBRID])
def test_what_libfdisk_writes_has_no_fault(tmp_path: Path, table: Table, sector_size: int) -> None:
    image = tmp_path / "disk"
    make(image, table, 8 * MIB, sector_size)
    assert gpt_faults(image, sector_size) == []


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("<Q", 40, 2**64 - 1), "partition 1 goes from LBA"),
        (put("<Q", 32, 2**63), "partition 1 goes from LBA"),
        (put("<QQ", 32, 40, 39), "partition 1 goes from LBA 40 to 39, beyond"),
        (put("<16s", 16, bytes(16)), "partition 1 has no GUID of its own"),
        (put("<Q", 48, 1 << 20), "partition 1: reserved bits of its entry are not 0"),
        (put("<I", 20, 1, entries=False), "reserved bytes in its header are not 0"),
        (put("<B", 100, 1, entries=False), "reserved bytes behind its header are not 0"),
        (put("<I", 8, 0x20000, entries=False), "its header is of an unknown revision, 0x20000"),
        (put("<I", 12, 80, entries=False), "its header claims to have 80 bytes"),
        (put("<Q", 24, 3, entries=False), "its header is for LBA 3, not for "),
        (put("<Q", 32, 7, entries=False), "its header names LBA 7 as the place of the other copy"),
        (put("<Q", 48, 2**60, entries=False), "partitions may go from LBA"),
        (put("<16s", 56, bytes(16), entries=False), "the disk has no GUID"),
        (put("<Q", 72, 2**64 - 1, entries=False), "entries cannot be at LBA 18446744073709551615"),
        (put("<I", 80, 2**32 - 1, entries=False), "its 4294967295 entries cannot be at LBA"),
        (put("<I", 84, 96, entries=False), "its entries claim to have 96 bytes each"),
    ],
)
def test_a_fault_in_both_copies(
    tmp_path: Path, change: Change, words: str, sector_size: int
) -> None:
    image = tmp_path / "disk"
    make(image, Table.EFI, 8 * MIB, sector_size)
    rewrite(image, change, sector_size)
    assert any(words in fault for fault in gpt_faults(image, sector_size))
    assert check_image(image).faults


@pytest.mark.parametrize("copy", [0, 1])
@pytest.mark.parametrize("change", [put("<H", 56, 0x41), put("<B", 60, 1, entries=False)])
def test_copies_that_differ(tmp_path: Path, change: Change, copy: int) -> None:
    image = tmp_path / "disk"
    make(image, Table.EFI, 8 * MIB)
    rewrite(image, change, copies=(copy,))
    assert "the two copies of the GPT differ" in gpt_faults(image, 512)
    assert check_image(image).faults


def test_a_partition_beyond_the_end_is_described_by_its_blocks(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    make(image, Table.EFI, 8 * MIB)
    for last in (2**54, 2**63 - 2):
        rewrite(image, put("<Q", 40, last))
        messages = "\n".join(describe(check_image(image)))
        assert f"to {last}, beyond the end of the image" in messages
        assert "TiB" not in messages


@pytest.mark.parametrize("place", [0, 1, 2, -1, -33])
def test_any_flipped_bit_is_found(tmp_path: Path, place: int) -> None:
    image = tmp_path / "disk"
    size = make(image, Table.EFI, 8 * MIB).size
    whole = image.read_bytes()
    start = place * 512 % size
    # Of the MBR, whose boot code is not the table's: the signature and the one entry.
    fields = (
        [446, 450, *range(454, 462), 510, 511] if place == 0 else range(0, 96 if place else 0, 7)
    )
    for at in fields:
        poke(image, start + at, bytes([whole[start + at] ^ 4]))
        assert gpt_faults(image, 512), at
        poke(image, start + at, whole[start + at : start + at + 1])
    assert gpt_faults(image, 512) == []


def test_an_active_entry_is_for_bios_alone(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    make(image, Table.LEGACY_GPT, 8 * MIB)
    assert gpt_faults(image, 512) == []
    make(image, Table.HYBRID, 8 * MIB)
    poke(image, 446, b"\x80")
    assert "is active, so that UEFI passes over the GPT" in gpt_faults(image, 512)[0]


def test_partitions_that_overlap(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    layout = make(image, Table.EFI, 8 * MIB)
    rewrite(image, put("<Q", 40, layout.root.start // 512))
    assert "partitions 1 and 2 overlap" in gpt_faults(image, 512)


@pytest.mark.parametrize("name", ['a"b', "a\\b", "\x1b[31m", "\ud800", "ünï", "\x01"])
def test_names_of_partitions_may_be_any(tmp_path: Path, name: str) -> None:
    image = tmp_path / "disk"
    make(image, Table.EFI, 8 * MIB)
    coded = name.encode("utf-16-le", errors="surrogatepass").ljust(72, b"\0")
    rewrite(image, put("<72s", 56, coded))
    table = read_table(image)
    assert table is not None
    assert len(table.parts) in (0, 2)
    check_image(image)


def test_a_file_of_one_sector(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    make(image, Table.EFI, 8 * MIB)
    for size in (1024, 1023, 600):
        os.truncate(image, size)
        assert gpt_faults(image, 512)
