from dataclasses import replace
from pathlib import Path

import pytest

from assembler.boot.boot_files import BootFile
from assembler.boot.generation import Generation
from assembler.boot.systemd_boot import absent_initrds, stub_problems, systemd_boot_files
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from tests.boots import add_system, path_of
from tests.test_boot_grub_cfg import DEBUG, PLAIN, RICH


def with_inner(one: Generation) -> Generation:
    inner = tuple((found.name, found.bootspec) for found in one.specialisations)
    return replace(one, bootspec=replace(one.bootspec, specialisations=inner))


def test_every_generation_and_specialisation_has_an_entry() -> None:
    found = systemd_boot_files([PLAIN, with_inner(RICH)], 2)
    assert found.esp == (
        BootFile(
            "loader/loader.conf",
            b"timeout 1\ndefault nixos-generation-2.conf\nconsole-mode keep\n",
        ),
    )
    assert [file.path for file in found.xbootldr] == [
        *(
            f"EFI/nixos/{digit * 32}-{name}.efi"
            for digit in "1289"
            for name in ("initrd-initrd", "linux-6.6-bzImage")
        ),
        "loader/entries/nixos-generation-1.conf",
        "loader/entries/nixos-generation-2-specialisation-debug.conf",
        "loader/entries/nixos-generation-2-specialisation-other.conf",
        "loader/entries/nixos-generation-2.conf",
    ]
    contents = {file.path: file.source for file in found.xbootldr}
    # As systemd-boot-builder.py writes it, without the machine-id.
    assert contents["loader/entries/nixos-generation-2-specialisation-debug.conf"] == (
        b"title NixOS (debug)\n"
        b"sort-key nixos\n"
        b"version Generation 2 NixOS, built on 2023-11-14\n"
        b"linux /EFI/nixos/88888888888888888888888888888888-linux-6.6-bzImage.efi\n"
        b"initrd /EFI/nixos/88888888888888888888888888888888-initrd-initrd.efi\n"
        b"options init=/nix/store/88888888888888888888888888888888-nixos-system-demo/init debug\n"
    )
    plain = contents["loader/entries/nixos-generation-1.conf"]
    assert isinstance(plain, bytes)
    assert plain.startswith(b"title NixOS\nsort-key nixos\nversion Generation 1 NixOS, built on")
    kernel = f"EFI/nixos/{'1' * 32}-linux-6.6-bzImage.efi"
    assert contents[kernel] == f"{path_of('linux-6.6', '1')}/bzImage"


def test_no_timeout_waits_for_a_key() -> None:
    source = systemd_boot_files([PLAIN], 1, None).esp[0].source
    assert source == b"timeout menu-force\ndefault nixos-generation-1.conf\nconsole-mode keep\n"


def test_a_sort_key_and_no_initrd() -> None:
    one = replace(PLAIN, bootspec=replace(PLAIN.bootspec, sort_key="a", initrd=None))
    [kernel, entry] = systemd_boot_files([one], 1).xbootldr
    assert kernel.path.startswith("EFI/nixos/")
    assert isinstance(entry.source, bytes)
    assert b"sort-key a\n" in entry.source
    assert b"initrd" not in entry.source


def test_further_initrds_come_after_the_first() -> None:
    more = (path_of("extra", "7") + "/cpio", "EFI/more.cpio")
    one = replace(PLAIN, bootspec=replace(PLAIN.bootspec, extra_initrds=more))
    files = systemd_boot_files([one], 1).xbootldr
    copies = {file.path: file.source for file in files}
    entry = next(file.source for file in files if file.path.startswith("loader/entries/"))
    assert isinstance(entry, bytes)
    copy = f"EFI/nixos/{'7' * 32}-extra-cpio.efi"
    assert copies[copy] == more[0]
    assert [line.split()[1] for line in entry.decode().splitlines() if "initrd" in line[:6]] == [
        f"/EFI/nixos/{'1' * 32}-initrd-initrd.efi",
        f"/{copy}",
        "/EFI/more.cpio",
    ]
    assert absent_initrds([one], copies) == [
        "generation 1: its initrd EFI/more.cpio (system.boot.extraInitrd.paths) is not on the "
        "partition with systemd-boot's entries: put it there with --contents"
    ]
    assert absent_initrds([one], [*copies, "efi/More.cpio"]) == []


def names_of(*kernels: str) -> dict[str, bytes | str]:
    """What the copies of kernels are called."""
    generations = [
        replace(PLAIN, number=n, bootspec=replace(DEBUG.bootspec, kernel=kernel, initrd=None))
        for n, kernel in enumerate(kernels, 1)
    ]
    files = systemd_boot_files(generations, 1).xbootldr
    return {file.path: file.source for file in files if file.path.startswith("EFI")}


def test_copies_are_named_after_their_store_paths() -> None:
    """As copy_from_file in systemd-boot-builder.py names them."""
    deep, plain = f"{path_of('linux', '1')}/boot/vmlinuz", path_of("Image", "2")
    assert names_of(deep, plain) == {
        f"EFI/nixos/{'1' * 32}-linux-vmlinuz.efi": deep,
        f"EFI/nixos/{'2' * 32}-Image.efi": plain,
    }


def test_kernels_of_one_name_in_one_store_path_are_told_apart() -> None:
    one, two = (f"{path_of('linux', '1')}/{name}/vmlinuz" for name in "ab")
    assert names_of(one, two) == {
        f"EFI/nixos/{'1' * 32}-linux-vmlinuz.efi": one,
        f"EFI/nixos/{'1' * 32}-linux-b-vmlinuz.efi": two,
    }


def test_a_device_tree_is_copied_and_named() -> None:
    tree = f"{path_of('device-tree', '3')}/vendor/board.dtb"
    one = replace(PLAIN, bootspec=replace(PLAIN.bootspec, devicetree=tree))
    *files, entry = systemd_boot_files([one], 1).xbootldr
    name = f"EFI/nixos/{'3' * 32}-device-tree-board.dtb.efi"
    assert BootFile(name, tree) in files
    assert isinstance(entry.source, bytes)
    assert entry.source.splitlines()[-1] == f"devicetree /{name}".encode()
    assert entry.source.splitlines()[-2].startswith(b"options ")


def test_kernels_that_firmware_cannot_start_are_told(tmp_path: Path) -> None:
    store = StoreRoot(tmp_path)
    inner, system = add_system(store, "1"), add_system(store, "2")
    inside = replace(PLAIN.bootspec, kernel=f"{path_of('linux-6.6', '1')}/bzImage")
    whole = replace(
        inside,
        kernel=f"{path_of('linux-6.6', '2')}/bzImage",
        specialisations=(("inner", inside),),
    )
    generation = replace(PLAIN, number=5, bootspec=whole)
    assert inner != system
    assert stub_problems(store, [generation]) == []
    kernel = store.host(inside.kernel)
    kernel.write_bytes(b"\xea" + kernel.read_bytes()[1:])
    ia32 = store.host(whole.kernel)
    ia32.write_bytes(ia32.read_bytes().replace(b"PE\0\0\x64\x86", b"PE\0\0\x4c\x01"))
    told = "systemd-boot cannot start the kernel"
    advice = "build it with CONFIG_EFI_STUB, or use --boot-loader grub"
    assert stub_problems(store, [generation]) == [
        f"generation 5: {told} {whole.kernel}: it is an EFI program for i386, not for "
        f"x86-64; {advice}",
        f"generation 5, specialisation 'inner': {told} {inside.kernel}: it is not an "
        f"EFI program (no MZ header); {advice}",
    ]


def test_an_unknown_default_is_refused() -> None:
    with pytest.raises(RequestError, match="generation 7 cannot be booted"):
        systemd_boot_files([PLAIN], 7)
