import shlex
from dataclasses import replace
from pathlib import Path
from uuid import NAMESPACE_DNS, UUID, uuid5

import pytest

from assembler.boot.bios import embed, install
from assembler.boot.grub import Platform, find_grub, make_core_image
from assembler.disk.layout import Layout, Table, make_layout
from assembler.disk.table import write_table
from assembler.errors import HostError
from assembler.store.paths import StoreRoot
from assembler.units import MIB, SECTOR
from conftest import AsRoot

MBR = bytes(range(256)) * 2
SETUP = "/usr/lib/grub/i386-pc/grub-bios-setup"


@pytest.fixture(scope="module")
def images() -> tuple[bytes, bytes]:
    """GRUB's real boot.img and core.img."""
    grub = find_grub(Platform.BIOS, StoreRoot(), [])
    return grub.boot_img, make_core_image(grub, UUID(int=7))


def new_disk(path: Path) -> Layout:
    layout = make_layout(
        Table.HYBRID, root_size=MIB, boot_size=MIB, seed=lambda name: uuid5(NAMESPACE_DNS, name)
    )
    with path.open("wb") as file:
        file.truncate(layout.size)
    write_table(path, layout)
    # Where an old boot sector lies, its parameters and disk signature stay.
    with path.open("r+b") as file:
        file.seek(3)
        file.write(b"BPB" * 29)
        file.seek(0x1B8)
        file.write(b"\x12\x34\x56\x78")
    return layout


def grub_bios_setup(as_root: AsRoot, directory: Path, image: Path) -> None:
    """Run the real thing. It looks its own directory up in the mount table, and wants to find it
    on the disk: in a mount namespace of its own, that table can say so.
    """
    (directory / "device.map").write_text(f"(hd0) {image}\n")
    table = directory / "mountinfo"
    table.write_text(f"100 1 8:1 / / rw - ext4 {image} rw\n")
    setup = [SETUP, "--no-rs-codes", "-m", f"{directory}/device.map", "-d", f"{directory}"]
    setup.append(str(image))
    mount = f"mount --bind {shlex.quote(str(table))} /proc/$$/mountinfo"
    script = f"{mount} && exec {shlex.join(setup)}"
    as_root("unshare", "--mount", "sh", "-c", script)


def test_the_disk_is_what_grub_bios_setup_makes(
    tmp_path: Path, images: tuple[bytes, bytes], as_root: AsRoot
) -> None:
    ours, theirs = tmp_path / "ours.raw", tmp_path / "theirs.raw"
    layout = new_disk(ours)
    new_disk(theirs)
    assert ours.read_bytes() == theirs.read_bytes()
    (tmp_path / "boot.img").write_bytes(images[0])
    (tmp_path / "core.img").write_bytes(images[1])
    grub_bios_setup(as_root, tmp_path, theirs)
    install(ours, layout, *images)
    assert ours.read_bytes() == theirs.read_bytes()


def test_the_boot_sector_keeps_what_belongs_to_the_disk(images: tuple[bytes, bytes]) -> None:
    boot, core = embed(*images, core_lba=2048, mbr=MBR)
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


def test_embedding_twice_changes_nothing(images: tuple[bytes, bytes]) -> None:
    boot, core = embed(*images, core_lba=2048, mbr=MBR)
    assert embed(boot, core, core_lba=2048, mbr=boot) == (boot, core)


def test_a_core_image_too_large_for_grub_itself_is_refused(images: tuple[bytes, bytes]) -> None:
    boot, core = images
    embed(boot, core.ljust(888 * SECTOR, b"x"), core_lba=1, mbr=MBR)
    with pytest.raises(HostError, match="has 891 sectors, 3 more than the 888"):
        embed(boot, core.ljust(890 * SECTOR + 1, b"x"), core_lba=1, mbr=MBR)


def test_a_core_image_too_large_for_its_partition_is_refused(
    tmp_path: Path, images: tuple[bytes, bytes]
) -> None:
    image = tmp_path / "disk.raw"
    layout = new_disk(image)
    before = image.read_bytes()
    sectors = -(-len(images[1]) // SECTOR)
    small = replace(layout.bios_boot, size=(sectors - 2) * SECTOR)
    layout = replace(layout, partitions=(layout.esp, small, layout.root))
    with pytest.raises(HostError, match="is 2 sectors too long for the BIOS boot partition"):
        install(image, layout, *images)
    assert image.read_bytes() == before


@pytest.mark.parametrize("boot_size", [0, 511, 513])
def test_a_boot_image_of_a_wrong_size_is_refused(
    boot_size: int, images: tuple[bytes, bytes]
) -> None:
    with pytest.raises(HostError, match=r"boot\.img has"):
        embed(bytes(boot_size), images[1], core_lba=1, mbr=MBR)


@pytest.mark.parametrize("core", [b"", bytes(4096), b"\xff" * 4096])
def test_what_is_no_core_image_is_refused(core: bytes, images: tuple[bytes, bytes]) -> None:
    with pytest.raises(HostError, match="not for i386-pc"):
        embed(images[0], core, core_lba=1, mbr=MBR)
