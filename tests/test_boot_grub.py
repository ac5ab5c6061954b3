import os
import shutil
from pathlib import Path
from uuid import UUID

import pytest

from assembler.boot.grub import Grub, Platform, find_grub, make_core_image
from assembler.errors import HostError
from assembler.store.paths import StoreRoot

ROOT_UUID = UUID("6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f")
STORE_PATH = "/nix/store/0c5b8jvv2zl8pzvzz0m9sxlyc4flpnlr-grub-2.06"
HOST = Path("/usr/lib/grub")


def install(root: Path, platform: str, prefix: str = "") -> Path:
    """Put GRUB into a store below `root`, as a package would."""
    modules = root / STORE_PATH[1:] / prefix / "lib" / "grub" / platform
    shutil.copytree(HOST / platform, modules)
    return modules


def install_program(root: Path, text: str) -> Path:
    program = root / STORE_PATH[1:] / "bin" / "grub-mkimage"
    program.parent.mkdir()
    program.write_text(text)
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("platform", Platform)
def test_the_hosts_grub_is_found(platform: Platform) -> None:
    grub = find_grub(platform, StoreRoot(), ["/nix/store/absent"])
    assert grub == Grub(platform, HOST / platform, Path("/usr/bin/grub-mkimage"))


@pytest.mark.parametrize("prefix", ["", "usr"])
def test_the_closures_grub_comes_first(tmp_path: Path, prefix: str) -> None:
    modules = install(tmp_path, "i386-pc", prefix)
    store = StoreRoot(tmp_path)
    assert find_grub(Platform.BIOS, store, [STORE_PATH]).modules == modules
    assert find_grub(Platform.EFI, store, [STORE_PATH]).modules == HOST / "x86_64-efi"


def test_its_grub_mkimage_is_used_only_where_it_runs(tmp_path: Path) -> None:
    install(tmp_path, "i386-pc")
    program = install_program(tmp_path, "#!/bin/sh\nexit 0\n")
    store = StoreRoot(tmp_path)
    assert find_grub(Platform.BIOS, store, [STORE_PATH]).mkimage == program
    program.write_text("#!/nix/store/absent-loader\n")
    host = find_grub(Platform.BIOS, store, [STORE_PATH]).mkimage
    assert host == Path("/usr/bin/grub-mkimage")


def test_grub_beside_a_program_on_path_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = install(tmp_path, "i386-pc")
    program = install_program(tmp_path, "#!/bin/sh\nexit 0\n")
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr("assembler.boot.grub._HOST_PREFIX", tmp_path / "absent")
    assert find_grub(Platform.BIOS, StoreRoot(), []) == Grub(Platform.BIOS, modules, program)


@pytest.mark.parametrize(
    ("platform", "packages"),
    [
        (Platform.BIOS, "grub-pc-bin (Debian) or grub2 (nixpkgs)"),
        (Platform.EFI, "grub-efi-amd64-bin (Debian) or grub2_efi (nixpkgs)"),
    ],
)
def test_a_host_without_grub_is_told_what_to_install(
    platform: Platform, packages: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assembler.boot.grub._HOST_PREFIX", tmp_path)
    monkeypatch.setattr("assembler.process.search_path", lambda: str(tmp_path))
    with pytest.raises(HostError) as caught:
        find_grub(platform, StoreRoot(tmp_path), [STORE_PATH])
    assert packages in str(caught.value)


def test_modules_without_a_program_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "i386-pc")
    monkeypatch.setattr("assembler.process.search_path", lambda: str(tmp_path))
    with pytest.raises(HostError, match="grub-mkimage is not on PATH"):
        find_grub(Platform.BIOS, StoreRoot(tmp_path), [STORE_PATH])


@pytest.mark.parametrize("platform", Platform)
def test_a_core_image_depends_on_modules_and_uuid_alone(tmp_path: Path, platform: Platform) -> None:
    grub = find_grub(platform, StoreRoot(), [])
    first = make_core_image(grub, ROOT_UUID)
    modules = install(tmp_path, platform)
    for file in modules.iterdir():
        os.utime(file, (1, 1))
    again = make_core_image(Grub(platform, modules, grub.mkimage), ROOT_UUID)
    assert again == first
    assert make_core_image(grub, UUID(int=1)) != first


def test_the_efi_program_is_one() -> None:
    core = make_core_image(find_grub(Platform.EFI, StoreRoot(), []), ROOT_UUID)
    assert core[:2] == b"MZ"
    header = int.from_bytes(core[0x3C:0x40], "little")
    assert core[header : header + 6] == b"PE\0\0\x64\x86"  # machine x86-64
    assert f"search.fs_uuid {ROOT_UUID} root\nset prefix=($root)/boot/grub\n".encode() in core


def test_a_failing_grub_mkimage_is_reported(tmp_path: Path) -> None:
    modules = install(tmp_path, "i386-pc")
    (modules / "ext2.mod").unlink()
    with pytest.raises(HostError, match="building GRUB's core image for i386-pc"):
        make_core_image(Grub(Platform.BIOS, modules, Path("/usr/bin/grub-mkimage")), ROOT_UUID)
