"""GRUB is found where distributions and nixpkgs install it, and its core images are built alike.

Without these tests, GRUB can start with modules of another version, or without one that it needs.
"""

import logging
import os
import shutil
from pathlib import Path

import pytest

from assembler.binaries.core_image import read_efi_core
from assembler.boot.grub.find import find_grub, find_optional_grub
from assembler.boot.grub.grub import (
    BIOS,
    Grub,
    Platform,
    grub_module_files,
    make_core_image,
    release_of,
)
from assembler.errors import HostError, RequestError
from assembler.filesystems.registry import KINDS
from assembler.machines import Machine
from assembler.store.paths import StoreRoot
from assembler.store.registration import format_registration
from assembler.store.sources import read_source
from assembler.tree.closure_files import ClosureFiles
from tests.support.boots import path_of
from tests.support.grub_setup import grub_install
from tests.support.helpers import nix_store, output, real_info

ROOT_UUID = "6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f"
PREFIX = "/boot/grub"
INSTALLED = [BIOS, Platform(Machine.X64), Platform(Machine.IA32)]
STORE_PATH = "/nix/store/0c5b8jvv2zl8pzvzz0m9sxlyc4flpnlr-grub-2.06"
HOST = Path("/usr/lib/grub")


def install(root: Path, platform: str, prefix: str = "") -> Path:
    """Put GRUB into a store below `root`, as a package would."""
    modules = root / STORE_PATH[1:] / prefix / "lib" / "grub" / str(platform)
    shutil.copytree(HOST / str(platform), modules)
    return modules


def module_files(grub: Grub) -> dict[str, Path]:
    """GRUB's own files on this host, by their paths below /boot/grub."""
    files = {file.path.removeprefix("grub/"): file.source for file in grub_module_files(grub)}
    return {path: source for path, source in files.items() if isinstance(source, Path)}


def install_program(root: Path, text: str) -> Path:
    program = root / STORE_PATH[1:] / "bin" / "grub-mkimage"
    program.parent.mkdir()
    program.write_text(text)
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("platform", INSTALLED)
def test_the_hosts_grub_is_found(platform: Platform) -> None:
    grub = find_grub(platform, StoreRoot(), [path_of("absent")])
    assert grub == Grub(platform, HOST / str(platform), Path("/usr/bin/grub-mkimage"))


@pytest.mark.parametrize("prefix", ["", "usr"])
def test_the_closures_grub_comes_first(tmp_path: Path, prefix: str) -> None:
    modules = install(tmp_path, "i386-pc", prefix)
    store = StoreRoot(tmp_path)
    assert find_grub(BIOS, store, [STORE_PATH]).modules == modules
    assert find_grub(Platform(Machine.X64), store, [STORE_PATH]).modules == HOST / "x86_64-efi"


@pytest.mark.parametrize("name", ["lib/grub/i386-pc/normal.mod", "bin/grub-mkimage"])
def test_a_grub_that_leads_out_of_the_closure_is_refused(tmp_path: Path, name: str) -> None:
    """grub-mkimage would follow the link, and the menu's modules are copied."""
    install(tmp_path, "i386-pc")
    install_program(tmp_path, "#!/bin/sh\nexit 0\n")
    file = tmp_path / STORE_PATH[1:] / name
    file.unlink()
    file.symlink_to(tmp_path / "secret")
    with pytest.raises(RequestError, match=f"{STORE_PATH}/{name} leads to {tmp_path}/secret"):
        find_grub(BIOS, StoreRoot(tmp_path), [STORE_PATH])


def test_its_grub_mkimage_is_used_only_where_it_runs(tmp_path: Path) -> None:
    install(tmp_path, "i386-pc")
    program = install_program(tmp_path, "#!/bin/sh\nexit 0\n")
    store = StoreRoot(tmp_path)
    assert find_grub(BIOS, store, [STORE_PATH]).mkimage == program
    program.write_text("#!/nix/store/absent-loader\n")
    host = find_grub(BIOS, store, [STORE_PATH]).mkimage
    assert host == Path("/usr/bin/grub-mkimage")


def test_grub_beside_a_program_on_path_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = install(tmp_path, "i386-pc")
    program = install_program(tmp_path, "#!/bin/sh\nexit 0\n")
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr("assembler.boot.grub.find._HOST_PREFIX", tmp_path / "absent")
    assert find_grub(BIOS, StoreRoot(), []) == Grub(BIOS, modules, program)


@pytest.mark.parametrize(
    ("platform", "packages"),
    [
        (BIOS, "grub-pc-bin (Debian) or grub2 (nixpkgs)"),
        (Platform(Machine.X64), "grub-efi-amd64-bin (Debian) or grub2_efi (nixpkgs)"),
        (Platform(Machine.IA32), "grub-efi-ia32-bin (Debian) or pkgsi686Linux.grub2_efi (nixpkgs)"),
        (
            Platform(Machine.AA64),
            "grub-efi-arm64-bin (Debian) or pkgsCross.aarch64-multiplatform.grub2_efi (nixpkgs)",
        ),
    ],
)
def test_a_host_without_grub_is_told_what_to_install(
    platform: Platform, packages: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assembler.boot.grub.find._HOST_PREFIX", tmp_path)
    monkeypatch.setattr("assembler.host.programs.search_path", lambda: str(tmp_path))
    with pytest.raises(RequestError) as caught:
        find_grub(platform, StoreRoot(tmp_path), [STORE_PATH])
    assert packages in str(caught.value)


def test_modules_without_a_program_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "i386-pc")
    monkeypatch.setattr("assembler.host.programs.search_path", lambda: str(tmp_path))
    with pytest.raises(HostError, match="grub-mkimage is not on PATH"):
        find_grub(BIOS, StoreRoot(tmp_path), [STORE_PATH])


@pytest.mark.parametrize("platform", INSTALLED)
def test_incomplete_modules_are_passed_over(
    tmp_path: Path, platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    modules = install(tmp_path, platform)
    for name in ("normal.mod", "kernel.img", "fs.lst"):
        (modules / name).unlink()
    lack = f"GRUB for {platform} in {modules} lacks fs.lst, kernel.img, normal.mod: they are in the"
    with caplog.at_level(logging.WARNING):
        grub = find_grub(platform, StoreRoot(tmp_path), [STORE_PATH])
    assert grub == Grub(platform, HOST / str(platform), Path("/usr/bin/grub-mkimage"))
    [message] = caplog.messages
    assert message.startswith(lack)
    assert message.endswith(f"(nixpkgs); instead {HOST / str(platform)} is used")


def test_incomplete_modules_alone_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assembler.boot.grub.find._HOST_PREFIX", tmp_path)
    monkeypatch.setattr("assembler.host.programs.search_path", lambda: str(tmp_path))
    modules = tmp_path / STORE_PATH[1:] / "lib/grub/x86_64-efi"
    modules.mkdir(parents=True)
    (modules / "moddep.lst").touch()
    with pytest.raises(RequestError) as caught:
        find_grub(Platform(Machine.X64), StoreRoot(tmp_path), [STORE_PATH])
    assert str(caught.value) == (
        f"GRUB for x86_64-efi in {modules} lacks boot.mod, command.lst, configfile.mod, "
        "crypto.lst, ext2.mod and 14 more files: they are in the package grub-efi-amd64-bin "
        "(Debian) or grub2_efi (nixpkgs)"
    )


@pytest.mark.parametrize("host", [False, True])
def test_other_firmware_is_served_out_of_the_same_place(tmp_path: Path, host: bool) -> None:
    """Never out of the host's GRUB beside a closure's, and the other way round."""
    store = StoreRoot(tmp_path)
    on_host = find_optional_grub(Platform(Machine.IA32), store, [STORE_PATH], host=host)
    assert (on_host is not None) == host
    modules = install(tmp_path, Platform(Machine.IA32))
    found = find_optional_grub(Platform(Machine.IA32), store, [STORE_PATH], host=host)
    assert found is not None
    assert found.modules == (HOST / "i386-efi" if host else modules)


def test_other_firmware_is_not_served_by_incomplete_modules(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    modules = install(tmp_path, Platform(Machine.IA32))
    (modules / "fat.mod").unlink()
    with caplog.at_level(logging.WARNING):
        platform, store = Platform(Machine.IA32), StoreRoot(tmp_path)
        assert find_optional_grub(platform, store, [STORE_PATH], host=False) is None
    assert caplog.messages == [
        f"GRUB for i386-efi in {modules} lacks fat.mod: they are in the package grub-efi-ia32-bin "
        "(Debian) or pkgsi686Linux.grub2_efi (nixpkgs); it is left out"
    ]


@pytest.mark.parametrize("platform", INSTALLED)
def test_a_core_image_depends_on_modules_and_uuid_alone(tmp_path: Path, platform: Platform) -> None:
    grub = find_grub(platform, StoreRoot(), [])
    first = make_core_image(grub, ROOT_UUID, "ext2", PREFIX)
    modules = install(tmp_path, platform)
    for file in modules.iterdir():
        os.utime(file, (1, 1))
    elsewhere = Grub(platform, modules, grub.mkimage)
    assert make_core_image(elsewhere, ROOT_UUID, "ext2", PREFIX) == first
    assert make_core_image(grub, "ABCD-1234", "ext2", PREFIX) != first


@pytest.mark.parametrize(
    ("platform", "machine"),
    [(Platform(Machine.X64), b"\x64\x86"), (Platform(Machine.IA32), b"\x4c\x01")],
)
@pytest.mark.parametrize(
    ("uuid", "reader", "prefix"),
    [(ROOT_UUID, "ext2", PREFIX), ("ABCD-1234", "fat", "/grub"), (ROOT_UUID, "xfs", "/@/grub")],
)
def test_the_efi_program_is_one(
    platform: Platform, machine: bytes, uuid: str, reader: str, prefix: str
) -> None:
    grub = find_grub(platform, StoreRoot(), [])
    core = make_core_image(grub, uuid, reader, prefix)
    assert core[:2] == b"MZ"
    header = int.from_bytes(core[0x3C:0x40], "little")
    assert core[header : header + 6] == b"PE\0\0" + machine
    assert f"search.fs_uuid {uuid} root\nset prefix=($root){prefix}\n".encode() in core


@pytest.mark.parametrize(
    ("kind", "module"),
    [("ext4", "ext2"), ("vfat", "fat"), ("xfs", "xfs"), ("btrfs", "btrfs"), ("f2fs", "f2fs")],
)
def test_the_file_system_decides_on_a_module(kind: str, module: str) -> None:
    grub = find_grub(Platform(Machine.X64), StoreRoot(), [])
    [reader] = [one.grub_module for one in KINDS if one.name == kind]
    core = make_core_image(grub, ROOT_UUID, reader, PREFIX)
    modules = {*read_efi_core(core).modules}
    assert modules & {"ext2", "fat", "xfs", "btrfs", "f2fs"} == {"fat", module}


@pytest.mark.parametrize("platform", INSTALLED)
def test_modules_that_a_platform_lacks_are_left_out(tmp_path: Path, platform: Platform) -> None:
    modules = install(tmp_path, platform)
    grub = Grub(platform, modules, Path("/usr/bin/grub-mkimage"))
    whole = make_core_image(grub, ROOT_UUID, "ext2", PREFIX)
    for name in ("serial", "sleep", "all_video", "halt"):
        (modules / f"{name}.mod").unlink()
    assert len(make_core_image(grub, ROOT_UUID, "ext2", PREFIX)) < len(whole)


@pytest.mark.parametrize(
    ("platform", "lost", "words"),
    [
        (
            BIOS,
            ["ext2", "biosdisk"],
            "lacks biosdisk.mod, ext2.mod: they are in the package grub-pc-bin (Debian) or grub2 "
            "(nixpkgs)",
        ),
        (
            Platform(Machine.IA32),
            ["fat", "linux"],
            "lacks fat.mod, linux.mod: they are in the package grub-efi-ia32-bin (Debian) or "
            "pkgsi686Linux.grub2_efi (nixpkgs)",
        ),
    ],
)
def test_a_module_that_is_needed_is_asked_for(
    tmp_path: Path, platform: Platform, lost: list[str], words: str
) -> None:
    modules = install(tmp_path, platform)
    for name in lost:
        (modules / f"{name}.mod").unlink()
    with pytest.raises(RequestError) as caught:
        make_core_image(
            Grub(platform, modules, Path("/usr/bin/grub-mkimage")), ROOT_UUID, "ext2", PREFIX
        )
    assert str(caught.value) == f"GRUB for {platform} in {modules} {words}"


def test_a_failing_grub_mkimage_is_reported(tmp_path: Path) -> None:
    modules = install(tmp_path, "i386-pc")
    (modules / "kernel.img").unlink()
    with pytest.raises(HostError, match="building GRUB's core image for i386-pc"):
        make_core_image(
            Grub(BIOS, modules, Path("/usr/bin/grub-mkimage")), ROOT_UUID, "ext2", PREFIX
        )


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }


def test_the_files_are_what_grub_install_copies(tmp_path: Path) -> None:
    theirs = files_below(grub_install(tmp_path / "scratch"))
    made = {name: theirs.pop(name) for name in ("i386-pc/core.img", "grubenv")}
    files = module_files(find_grub(BIOS, StoreRoot(), []))
    assert {name: file.read_bytes() for name, file in files.items()} == theirs
    assert [*files] == sorted(files)
    assert all(made.values())
    assert {"i386-pc/normal.mod", "i386-pc/boot.img", "fonts/unicode.pf2"} <= {*theirs}


@pytest.mark.parametrize("platform", [Platform(Machine.X64), Platform(Machine.IA32)])
def test_the_files_are_what_grub_copies_for_the_network(tmp_path: Path, platform: Platform) -> None:
    grub = find_grub(platform, StoreRoot(), [])
    directory = f"--directory={grub.modules}"
    output("grub-mknetdir", f"--net-directory={tmp_path}", "--subdir=grub", directory)
    theirs = files_below(tmp_path / "grub")
    for name in ("core.efi", "grub.cfg"):
        del theirs[f"{platform}/{name}"]
    assert {name: file.read_bytes() for name, file in module_files(grub).items()} == theirs


def test_a_theme_is_copied_and_other_files_are_not(tmp_path: Path) -> None:
    modules = install(tmp_path, "x86_64-efi")
    share = modules.parents[2] / "share"
    for name in (
        *("grub/themes/starfield/theme.txt", "grub/themes/starfield/star.png"),
        *("grub/themes/other/theme.txt", "grub/ascii.pf2", "grub/themes/starfield/more/deep.png"),
        *("locale/de/LC_MESSAGES/grub.mo", "locale/de/LC_MESSAGES/tar.mo", "locale/README"),
    ):
        (share / name).parent.mkdir(parents=True, exist_ok=True)
        (share / name).touch()
    (modules / "normal.module").touch()
    files = module_files(Grub(Platform(Machine.X64), modules, Path("/usr/bin/grub-mkimage")))
    assert [name for name in files if not name.startswith("x86_64-efi/")] == [
        "locale/de.mo",
        "themes/starfield/star.png",
        "themes/starfield/theme.txt",
    ]
    assert "x86_64-efi/normal.mod" in files
    assert "x86_64-efi/normal.module" not in files
    assert "x86_64-efi/boot.img" not in files


def test_files_that_every_grub_has_are_asked_for(tmp_path: Path) -> None:
    modules = install(tmp_path, "i386-pc")
    for name in ("boot.img", "moddep.lst", "efiemu32.o"):
        (modules / name).unlink()
    with pytest.raises(HostError) as caught:
        grub_module_files(Grub(BIOS, modules, Path("/usr/bin/grub-mkimage")))
    assert str(caught.value) == (
        f"GRUB for i386-pc in {modules} lacks boot.img, moddep.lst: they are in the package "
        "grub-pc-bin (Debian) or grub2 (nixpkgs)"
    )


def test_out_of_an_export_comes_all_that_is_beside_the_modules(tmp_path: Path) -> None:
    modules = install(tmp_path / "from", "i386-pc")
    install_program(tmp_path / "from", "#!/bin/sh\nexit 0\n")
    font = modules.parents[2] / "share" / "grub" / "unicode.pf2"
    font.parent.mkdir(parents=True)
    font.write_bytes(b"font")
    root, export = tmp_path / "from", tmp_path / "export"
    nix_store(root, "--load-db", stdin=format_registration([real_info(root, STORE_PATH)]))
    export.write_bytes(nix_store(root, "--export", STORE_PATH))
    files = ClosureFiles(StoreRoot(tmp_path / "absent"), tmp_path / "scratch")
    read_source(export, files.receive)
    grub = find_grub(BIOS, files, [STORE_PATH])
    assert grub.mkimage.parents[1] == grub.modules.parents[2]
    found = module_files(grub)
    assert found["fonts/unicode.pf2"].read_bytes() == b"font"
    assert found["i386-pc/boot.img"].read_bytes() == (modules / "boot.img").read_bytes()


@pytest.mark.parametrize("platform", INSTALLED)
def test_the_version_is_that_of_grub_mkimage(platform: Platform) -> None:
    grub = find_grub(platform, StoreRoot(), [])
    printed = output(grub.mkimage, "--version").decode().split()[-1]
    assert release_of(grub) == printed.partition("-")[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('grub_version="2.12"', "2.12"),
        ('grub_version="2.12~rc1"', "2.12-rc1"),
        ('grub_version="2.14-beta2"', "2.14-beta2"),
        ('grub_version="2.02+dfsg1-20+deb10u4"', "2.02"),
        ('grub_version="2.06-13+deb12u2"', "2.06"),
    ],
)
def test_the_version_is_as_nixpkgs_has_it(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "modinfo.sh").write_text(f"#!/bin/sh\n# 9.9\n{line}\ngrub_package=grub\n")
    assert release_of(Grub(BIOS, tmp_path, Path("grub-mkimage"))) == expected


def test_a_version_that_is_not_told_is_an_error(tmp_path: Path) -> None:
    grub = Grub(BIOS, tmp_path, Path("grub-mkimage"))
    with pytest.raises(RequestError, match=r"incomplete: .*modinfo\.sh: No such file or directory"):
        release_of(grub)
    (tmp_path / "modinfo.sh").write_text("grub_package=grub\n")
    with pytest.raises(RequestError, match=r"modinfo\.sh does not contain the version of GRUB"):
        release_of(grub)
