"""Entries for systemd-boot have the names and lines that its builder in nixpkgs writes.

Without these tests, an entry can be missing in the menu, or stay there beside its copy after the
first rebuild.
"""

import hashlib
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from assembler.boot.boot_file import BootFile
from assembler.boot.generation import Generation
from assembler.boot.systemd_boot.entries import (
    SystemdBootFiles,
    absent_initrds,
    stub_problems,
    systemd_boot_files,
)
from assembler.boot.systemd_boot.settings import SystemdBootSettings, parse_settings
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from tests.boot.test_grub_cfg import DEBUG, PLAIN, RICH
from tests.support.boots import add_system, path_of
from tests.support.builders import BY_CONTENTS, BY_NUMBER, builder


def with_inner(one: Generation) -> Generation:
    inner = tuple((found.name, found.bootspec) for found in one.specialisations)
    return replace(one, bootspec=replace(one.bootspec, specialisations=inner))


def named(text: str) -> str:
    """The file of an entry that is named by its contents."""
    return f"loader/entries/nixos-{hashlib.sha256(text.encode()).hexdigest()}.conf"


def boot_files(
    generations: Sequence[Generation],
    number: int,
    settings: SystemdBootSettings | None = None,
) -> SystemdBootFiles:
    """The files for systemd-boot, with the host's own store."""
    return systemd_boot_files(StoreRoot(), generations, number, settings or SystemdBootSettings())


def contents(files: Iterable[BootFile]) -> dict[str, bytes | Path]:
    return {file.path: file.source for file in files}


def entries(files: Iterable[BootFile]) -> list[str]:
    """The texts of entries, without the names of their files."""
    return [
        file.source.decode()
        for file in files
        if isinstance(file.source, bytes) and file.path.startswith("loader/entries/")
    ]


KERNELS = [
    f"EFI/nixos/{digit * 32}-{name}.efi"
    for digit in "1289"
    for name in ("initrd-initrd", "linux-6.6-bzImage")
]
# As nixpkgs' script writes them, without the machine-id.
DEBUGGED = (
    "title My Own OS (debug)\n"
    "version Generation 2 NixOS, built on 1970-01-01\n"
    "linux /EFI/nixos/88888888888888888888888888888888-linux-6.6-bzImage.efi\n"
    "initrd /EFI/nixos/88888888888888888888888888888888-initrd-initrd.efi\n"
    "options init=/nix/store/88888888888888888888888888888888-nixos-system-demo/init debug\n"
    "sort-key nixos"
)
DEBUGGED_BY_NUMBER = (
    "title Old OS (debug)\n"
    "sort-key nixos\n"
    "version Generation 2 NixOS, built on 1970-01-01\n"
    "linux /efi/nixos/88888888888888888888888888888888-linux-6.6-bzImage.efi\n"
    "initrd /efi/nixos/88888888888888888888888888888888-initrd-initrd.efi\n"
    "options init=/nix/store/88888888888888888888888888888888-nixos-system-demo/init debug\n"
)


def settings(template: str = BY_CONTENTS, **values: str) -> SystemdBootSettings:
    found = parse_settings("/b", builder(template, **values))
    assert found is not None
    return found


def test_every_generation_and_specialisation_has_an_entry() -> None:
    found = boot_files([PLAIN, with_inner(RICH)], 2, settings(timeout="1"))
    files = contents(found.xbootldr)
    assert [path for path in files if path.startswith("EFI")] == KERNELS
    assert len(files) == len(KERNELS) + 4
    assert files[named(DEBUGGED)] == DEBUGGED.encode()
    [default] = [
        text
        for text in entries(found.xbootldr)
        if text.startswith("title My Own OS\nversion Generation 2 ")
    ]
    kernel = f"EFI/nixos/{'1' * 32}-linux-6.6-bzImage.efi"
    assert files[kernel] == Path(f"{path_of('linux-6.6', '1')}/bzImage")
    loader_conf = f"timeout 1\ndefault {posixpath.basename(named(default))}\nconsole-mode max\n"
    assert found.esp == (BootFile("loader/loader.conf", loader_conf.encode()),)


def test_an_older_installer_names_entries_by_number() -> None:
    older = settings(BY_NUMBER, timeout="", editor="False")
    found = boot_files([PLAIN, with_inner(RICH)], 2, older)
    expected = b"default nixos-generation-2.conf\neditor 0\nconsole-mode keep\n"
    assert found.esp == (BootFile("loader/loader.conf", expected),)
    files = contents(found.xbootldr)
    assert [name for name in files if name.startswith("loader")] == [
        "loader/entries/nixos-generation-1.conf",
        "loader/entries/nixos-generation-2-specialisation-debug.conf",
        "loader/entries/nixos-generation-2-specialisation-other.conf",
        "loader/entries/nixos-generation-2.conf",
    ]
    special = files["loader/entries/nixos-generation-2-specialisation-debug.conf"]
    assert special == DEBUGGED_BY_NUMBER.encode()


def test_without_an_installer_entries_are_named_by_number() -> None:
    """Any installer removes these, and an older one no others."""
    files = contents(boot_files([PLAIN], 1).xbootldr)
    entry = files["loader/entries/nixos-generation-1.conf"]
    assert isinstance(entry, bytes)
    assert entry.startswith(b"title NixOS\nsort-key nixos\nversion Generation 1 NixOS, built on")
    assert f"EFI/nixos/{'1' * 32}-linux-6.6-bzImage.efi" in files


def test_the_installers_words_are_kept() -> None:
    found = boot_files([PLAIN], 1, settings(timeout="menu-force", editor="", bitlocker="1"))
    [text] = entries(found.xbootldr)
    assert text.startswith("title My Own OS\n")
    assert (
        found.esp[0].source
        == (
            f"timeout menu-force\ndefault {posixpath.basename(named(text))}\neditor 0\n"
            "reboot-for-bitlocker yes\nconsole-mode max\n"
        ).encode()
    )


def test_boot_counting() -> None:
    found = boot_files([PLAIN], 1, settings(counting="True", tries="5"))
    [text] = entries(found.xbootldr)
    assert named(text).replace(".conf", "+5.conf") in contents(found.xbootldr)
    expected = f"preferred {posixpath.basename(named(text))}\ndefault nixos-*\n".encode()
    assert isinstance(found.esp[0].source, bytes)
    assert expected in found.esp[0].source


def test_further_files_are_copied() -> None:
    extra = [BootFile("efi/memtest.efi", Path("/m")), BootFile("EFI/nixos/.extra/x", b"")]
    files = boot_files([PLAIN], 1, replace(settings(), extra_files=extra)).xbootldr
    assert contents(files)["efi/memtest.efi"] == Path("/m")
    assert contents(files)["EFI/nixos/.extra/x"] == b""


def test_an_initrd_with_secrets_has_a_name_of_its_own() -> None:
    secrets = f"{path_of('secrets', '7')}/bin/append-initrd-secrets"
    one = replace(PLAIN, bootspec=replace(PLAIN.bootspec, initrd_secrets=secrets))
    both = (
        f"EFI/nixos/{'1' * 32}-initrd-initrd.efi\n"
        f"EFI/nixos/{'7' * 32}-secrets-append-initrd-secrets.efi"
    )
    name = f"EFI/nixos/{hashlib.sha256(both.encode()).hexdigest()}-initrd.efi"
    files = boot_files([one], 1, settings()).xbootldr
    assert contents(files)[name] == Path(one.bootspec.initrd or "")
    assert f"initrd /{name}\n" in entries(files)[0]
    by_number = boot_files([one], 1, settings(BY_NUMBER)).xbootldr
    assert f"efi/nixos/{'1' * 32}-initrd-initrd.efi" in contents(by_number)


@pytest.mark.parametrize("template", [BY_CONTENTS, BY_NUMBER])
def test_a_sort_key_and_no_initrd(template: str) -> None:
    one = replace(PLAIN, bootspec=replace(PLAIN.bootspec, sort_key="a", initrd=None))
    files = boot_files([one], 1, settings(template)).xbootldr
    [kernel, entry] = files
    assert "/nixos/" in kernel.path
    assert isinstance(entry.source, bytes)
    assert b"sort-key a" in entry.source
    assert b"initrd" not in entry.source


def test_further_initrds_come_after_the_first() -> None:
    more = (path_of("extra", "7") + "/cpio", "EFI/more.cpio")
    one = replace(PLAIN, bootspec=replace(PLAIN.bootspec, extra_initrds=more))
    files = boot_files([one], 1).xbootldr
    copies = {file.path: file.source for file in files}
    [entry] = entries(files)
    copy = f"EFI/nixos/{'7' * 32}-extra-cpio.efi"
    assert copies[copy] == Path(more[0])
    assert [line.split()[1] for line in entry.splitlines() if "initrd" in line[:6]] == [
        f"/EFI/nixos/{'1' * 32}-initrd-initrd.efi",
        f"/{copy}",
        "/EFI/more.cpio",
    ]
    assert absent_initrds([one], copies) == [
        "generation 1: its initrd EFI/more.cpio (system.boot.extraInitrd.paths) is not on the "
        "partition with systemd-boot's entries: put it there with contents"
    ]
    assert absent_initrds([one], [*copies, "efi/More.cpio"]) == []


def names_of(*kernels: str) -> dict[str, str]:
    """What the copies of kernels are called."""
    generations = [
        replace(PLAIN, number=n, bootspec=replace(DEBUG.bootspec, kernel=kernel, initrd=None))
        for n, kernel in enumerate(kernels, 1)
    ]
    files = boot_files(generations, 1).xbootldr
    return {file.path: str(file.source) for file in files if file.path.startswith("EFI")}


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
    *files, entry = boot_files([one], 1, settings()).xbootldr
    name = f"EFI/nixos/{'3' * 32}-device-tree-board.dtb.efi"
    assert BootFile(name, Path(tree)) in files
    assert isinstance(entry.source, bytes)
    assert entry.source.endswith(f"\ndevicetree /{name}\nsort-key nixos".encode())
    *_, entry = boot_files([one], 1, settings(BY_NUMBER)).xbootldr
    assert isinstance(entry.source, bytes)
    assert entry.source.endswith(b"\ndevicetree /efi/nixos/vendor-board.dtb.efi\n")


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
    messages = "systemd-boot cannot start the kernel"
    advice = "build it with CONFIG_EFI_STUB, or use boot_loader grub"
    assert stub_problems(store, [generation]) == [
        f"generation 5: {messages} {whole.kernel}: it is an EFI program for i386, not for "
        f"x86-64; {advice}",
        f"generation 5, specialisation 'inner': {messages} {inside.kernel}: it is not an "
        f"EFI program (no MZ header); {advice}",
    ]


def test_an_unknown_default_is_refused() -> None:
    with pytest.raises(RequestError, match="generation 7 cannot be booted"):
        boot_files([PLAIN], 7)
