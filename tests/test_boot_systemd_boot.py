from dataclasses import replace

import pytest

from assembler.boot.boot_files import BootFile
from assembler.boot.generation import Generation
from assembler.boot.systemd_boot import systemd_boot_files
from assembler.errors import RequestError
from tests.boots import path_of
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


def test_kernels_in_directories_of_one_name_are_told_apart() -> None:
    specs = [
        replace(DEBUG.bootspec, kernel=f"{path_of('linux', digit)}/boot/vmlinuz") for digit in "12"
    ]
    generations = [replace(PLAIN, number=n, bootspec=spec) for n, spec in enumerate(specs, 1)]
    found = systemd_boot_files(generations, 1)
    kernels = {file.path: file.source for file in found.xbootldr if "vmlinuz" in file.path}
    assert kernels == {
        "EFI/nixos/boot-vmlinuz.efi": specs[0].kernel,
        f"EFI/nixos/{'2' * 32}-linux-boot-vmlinuz.efi": specs[1].kernel,
    }
    entry = found.xbootldr[-1].source
    assert isinstance(entry, bytes)
    assert f"linux /EFI/nixos/{'2' * 32}-linux-boot-vmlinuz.efi\n".encode() in entry


def test_an_unknown_default_is_refused() -> None:
    with pytest.raises(RequestError, match="generation 7 cannot be booted"):
        systemd_boot_files([PLAIN], 7)
