"""Boot code for BIOS is compared with GRUB's own files, wherever an image keeps them.

Without these tests, damaged boot code can pass the check, and the machine stops before the menu.
"""

from pathlib import Path

import pytest

from assembler.boot.grub.bios import BiosCode
from assembler.check.image import check_image
from assembler.disk.tables import Table
from tests.support.boot_images import (
    FAT_UUID,
    GRUB,
    build,
    core_image,
    menu,
    poke,
    root_files,
    start,
    write,
)
from tests.support.grub_setup import grub_bios_setup

HOME = "/boot/grub/i386-pc"
ON_ROOT = f"partition 3 (ext4), {HOME}"
NAMES = ["boot.img", "diskboot.img", "lzma_decompress.img"]


def grub_file(name: str) -> bytes:
    return (GRUB / "i386-pc" / name).read_bytes()


def make(directory: Path, names: list[str], *, codes: bool = False) -> Path:
    """An image with some of GRUB's files; core.img is another than that on the disk.

    With `codes` GRUB's own program puts the core image there, with error-correction codes.
    """
    (directory / "other").mkdir()
    core = core_image(directory, "i386-pc")
    files = root_files(menu())
    for name in names:
        other = core_image(directory / "other", "i386-pc", "true\n", "/another/prefix")
        files[f"{HOME}/{name}"] = other if name == "core.img" else grub_file(name)
    image = directory / "disk"
    layout = build(image, Table.HYBRID, files)
    if codes:
        grub_bios_setup(directory / "setup", image, grub_file("boot.img"), core)
    else:
        BiosCode(grub_file("boot.img"), core).install(image, layout)
    return image


@pytest.mark.parametrize("codes", [False, True])
@pytest.mark.parametrize("names", [[], NAMES, ["boot.img", "core.img"]])
def test_code_that_grub_install_put_there(tmp_path: Path, names: list[str], codes: bool) -> None:
    assert check_image(make(tmp_path, names, codes=codes), bios=True).faults == ()


@pytest.mark.parametrize("at", [0x0, 0x70, 0x100, 0x1A0])
def test_a_damaged_boot_sector(tmp_path: Path, at: int) -> None:
    image = make(tmp_path, ["boot.img"])
    poke(image, at, b"\xff")
    assert check_image(image).faults == (
        f"BIOS: boot sector: it differs from {ON_ROOT}/boot.img, from byte {at:#x} on",
    )


def test_what_belongs_to_the_disk(tmp_path: Path) -> None:
    """File systems and operating systems keep data of theirs in the boot sector."""
    image = make(tmp_path, NAMES)
    for at in (0x03, 0x59, 0x64, 0x1B8, 0x1BB):
        poke(image, at, b"\x11")
    poke(image, 0x66, grub_file("boot.img")[0x66:0x68])  # as for a floppy
    assert check_image(image).faults == ()


@pytest.mark.parametrize("name", ["diskboot.img", "core.img"])
@pytest.mark.parametrize("at", [0x10, 0x1F3])
def test_a_damaged_first_sector(tmp_path: Path, name: str, at: int) -> None:
    image = make(tmp_path, [name])
    poke(image, start(image, 2) + at, b"\x99")
    words = f"its first sector differs from {ON_ROOT}/{name}, from byte {at:#x} on"
    assert check_image(image).faults == (f"BIOS: core image: {words}",)


@pytest.mark.parametrize("name", ["lzma_decompress.img", "core.img"])
@pytest.mark.parametrize("at", [0x20, 0x600, 2847])
def test_a_damaged_decompressor(tmp_path: Path, name: str, at: int) -> None:
    image = make(tmp_path, [name])
    there = grub_file("lzma_decompress.img")[at]
    poke(image, start(image, 2) + 512 + at, bytes([there ^ 0xFF]))
    words = f"its decompressor differs from {ON_ROOT}/{name}, from byte {at:#x} on"
    assert check_image(image).faults == (f"BIOS: core image: {words}",)


def test_code_of_another_version(tmp_path: Path) -> None:
    """What counts are the files of the GRUB that was installed."""
    image = make(tmp_path, NAMES)
    boot = bytearray(grub_file("boot.img"))
    boot[0x70] ^= 0xFF
    poke(image, 0x70, bytes([boot[0x70]]))
    assert len(check_image(image).faults) == 1
    write(image, 3, f"{HOME}/boot.img", bytes(boot))
    assert check_image(image).faults == ()


@pytest.mark.parametrize("data", [b"", b"x" * 600, bytes(4 << 10)])
def test_files_that_are_none(tmp_path: Path, data: bytes) -> None:
    image = make(tmp_path, ["boot.img", "diskboot.img", "core.img"])
    for name in ("boot.img", "diskboot.img", "core.img"):
        write(image, 3, f"{HOME}/{name}", data)
    assert check_image(image).faults == ()


def test_files_on_the_esp(tmp_path: Path) -> None:
    early = f"search.fs_uuid {FAT_UUID} root\nset prefix=($root)/grub\n"
    core = core_image(tmp_path, "i386-pc", early)
    esp = {"/grub/grub.cfg": menu().encode(), "/grub/i386-pc/boot.img": grub_file("boot.img")}
    image = tmp_path / "disk"
    build(image, Table.HYBRID, root_files(), esp=esp, core=core)
    assert check_image(image).faults == ()
    poke(image, 0x70, b"\xff\xff")
    assert check_image(image).faults == (
        "BIOS: boot sector: it differs from partition 1 (FAT), /grub/i386-pc/boot.img, "
        "from byte 0x70 on",
    )
