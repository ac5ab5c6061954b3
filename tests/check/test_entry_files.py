"""Only the system's own entries of a menu are followed, whatever else is in it.

Without these tests, an entry for another system can make a good image fail the check.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from assembler.check.image import check_image
from assembler.disk.tables import Table
from tests.support.boot_images import KERNEL, build, core_image, debugfs, menu, root_files, write
from tests.support.boots import NIXOS_SETTINGS, script_check, to_xml
from tests.support.helpers import output
from tests.support.places import ASSEMBLE, CHECK_IMAGE
from tests.support.systems import System, add_path, make_system, store_path

ENTRY = '"NixOS - Default": /nix/store/…/bzImage (97.7 KiB), initrd (48.9 KiB), init'

OTHERS = [
    'menuentry "Reboot" {\n  reboot\n}\n',
    'menuentry "Firmware" {\n  fwsetup\n}\n',
    'submenu "More" {\n  menuentry "Off" {\n    halt\n  }\n}\n',
    'menuentry "Hello" {\n  echo hello\n}\n',
    'menuentry "Windows" {\n  chainloader (hd0,4)+1\n}\n',
    'menuentry "Windows" {\n  set root=(hd1,1)\n  chainloader /bootmgr\n}\n',
    'menuentry "Windows" {\n  set root=(hd0,1)\n  chainloader +1\n}\n',
    'menuentry "Windows" {\n  search --fs-uuid --set=root 1234-ABCD\n'
    "  chainloader /EFI/Microsoft/Boot/bootmgfw.efi\n}\n",
    'menuentry "Linux" {\n  search --fs-uuid --set=root 99\n  linux /boot/vmlinuz\n}\n',
    f'menuentry "NixOS" {{\n  search --fs-uuid --set=root 99\n  linux {KERNEL}\n}}\n',
    'menuentry "Memtest" {\n  linux ($drive1)/memtest.bin\n}\n',
    'menuentry "Memtest" {\n  linux16 @bootRoot@/memtest.bin\n}\n',
    'menuentry "Disk" {\n  loopback loop /x.iso\n  linux (loop)/vmlinuz\n initrd (loop)/i\n}\n',
    'menuentry "GRUB" {\n  multiboot /boot/other/core.img\n}\n',
    'menuentry "Menu" {\n  configfile /boot/other.cfg\n}\n',
]


def make(directory: Path, grub_cfg: str) -> Path:
    script_check(grub_cfg)
    core = core_image(directory, "i386-pc")
    build(directory / "disk", Table.LEGACY, root_files(grub_cfg), core=core)
    return directory / "disk"


def details(image: Path) -> Sequence[str]:
    [chain] = check_image(image).chains
    assert chain.fault == ""
    return chain.details


def test_entries_that_are_not_the_systems_own(tmp_path: Path) -> None:
    image = make(tmp_path, menu() + "".join(OTHERS))
    assert details(image) == (ENTRY, f"{len(OTHERS)} more entries: not followed")
    for other in OTHERS:
        write(image, 1, "/boot/grub/grub.cfg", (menu() + other).encode())
        assert details(image) == (ENTRY, "1 more entry: not followed")


@pytest.mark.parametrize("kernel", [f"{KERNEL}-gone", "/boot/kernels/gone-bzImage"])
def test_a_generation_among_them(tmp_path: Path, kernel: str) -> None:
    own = menu(kernel).split("\n", 2)[2].replace("NixOS - Default", "Generation 1")
    image = make(tmp_path, menu() + OTHERS[0] + own)
    assert check_image(image).faults == (
        f"BIOS: entry 'Generation 1': partition 1 (ext4), {kernel}: file `{kernel}' not found",
    )
    debugfs(image, 1, "mkdir /boot/kernels", f"ln {KERNEL} {kernel}", f"sif {KERNEL} links_count 2")
    assert details(image) == (
        ENTRY,
        "1 more entry: the files are there, their beginnings read",
        "1 more entry: not followed",
    )


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (OTHERS[8], "/boot/vmlinuz: no file system has the UUID 99"),
        (
            OTHERS[5].replace("hd1,1", "hd0,1"),
            "partition 1 (ext4), /bootmgr: file `/bootmgr' not found",
        ),
    ],
)
def test_the_default_entry_must_start_something(tmp_path: Path, entry: str, words: str) -> None:
    [fault] = check_image(make(tmp_path, entry + menu())).faults
    assert fault.startswith("BIOS: entry ")
    assert fault.endswith(words)


def test_a_default_entry_that_is_not_followed(tmp_path: Path) -> None:
    image = make(tmp_path, OTHERS[0] + menu())
    [chain] = check_image(image).chains
    assert (chain.fault, chain.followed) == ("", False)
    assert chain.details == (
        '"Reboot": not followed',
        "1 more entry: the files are there, their beginnings read",
    )
    assert chain.remarks == ("not followed: entry 'Reboot': its command `reboot`",)


def test_a_generation_that_is_not_followed(tmp_path: Path) -> None:
    own = menu(f"{KERNEL}-gone").split("\n", 2)[2].replace("NixOS - Default", "Generation 1")
    own = own.replace("  linux", "  for a in b; do true; done\n  linux")
    [chain] = check_image(make(tmp_path, menu() + own)).chains
    assert (chain.fault, chain.followed) == ("", False)
    assert chain.details == (ENTRY, "1 more entry: not followed")
    assert chain.remarks == ("not followed: entry 'Generation 1': its command `for`",)


@pytest.mark.parametrize("entry", OTHERS[4:8])
def test_the_default_entry_may_be_another_system(tmp_path: Path, entry: str) -> None:
    assert details(make(tmp_path, entry + menu())) == (
        '"Windows": not followed',
        "1 more entry: the files are there, their beginnings read",
    )


def with_settings(system: System, scratch: Path, **settings: str | bool) -> list[str]:
    """Options for a system whose closure holds a grub-config.xml."""
    path = store_path(5, "grub-config.xml")
    more = add_path(system, path, {"": to_xml(scratch, {**NIXOS_SETTINGS, **settings})})
    *lines, count, kernel, initrd, shell = system.registration.read_text().splitlines()
    assert count == "3"
    refer = [*lines, "4", path, kernel, initrd, shell, ""]
    system.registration.write_text("\n".join(refer))
    return [*system.options, "--closure", str(more)]


@pytest.mark.parametrize("table", ["hybrid", "legacy"])
def test_extra_entries_of_a_system(tmp_path: Path, table: str) -> None:
    """What `assemble` makes of boot.loader.grub.extraEntries is a good image to both commands."""
    system = make_system(tmp_path / "store")
    options = with_settings(system, tmp_path, extraEntries="\n".join(OTHERS))
    image = tmp_path / "disk.raw"
    output(ASSEMBLE, "--out", image, "--partition-table", table, "--boot-size", "64M", *options)
    messages = output(CHECK_IMAGE, image).decode()
    assert "file system" not in messages
    count = 3 if table == "hybrid" else 1  # BIOS, and UEFI of 64 and 32 bits
    assert messages.count(f"  {len(OTHERS)} more entries: not followed\n") == count
    assert messages.count("  1 more entry: the files are there, their beginnings read\n") == count
