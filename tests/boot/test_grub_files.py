"""The files in /boot are those that install-grub.pl writes, with its names and modes.

Without these tests, GRUB can lack a kernel in /boot, or be installed once more at the first
rebuild.
"""

from pathlib import Path

import pytest

from assembler.boot.boot_file import BootFile
from assembler.boot.generation import Generation
from assembler.boot.grub.config import GrubConfig
from assembler.boot.grub.files import InstalledGrub, grub_files, grub_state
from assembler.boot.grub.grub_cfg import grub_cfg
from assembler.boot.places import Places
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from tests.boot.test_grub_cfg import FAT, PLAIN, RICH, SAME, generation
from tests.support.boots import path_of
from tests.support.helpers import output

STORE = StoreRoot()
INSTALLED = InstalledGrub("grub", "2.06", bios="", efi="")
BIOS, EFI = path_of("grub-2.12", "b"), path_of("grub-2.12", "f")


def files_of(config: GrubConfig, places: Places, *generations: Generation) -> dict[str, BootFile]:
    system = generations[-1].bootspec.toplevel
    found = grub_files(STORE, config, generations, system, places, installed=INSTALLED)
    assert [file.path for file in found] == sorted({file.path for file in found})
    return {file.path: file for file in found}


def test_on_one_file_system_three_files_suffice() -> None:
    found = files_of(GrubConfig(), SAME, PLAIN, RICH)
    assert [(file.path, file.mode) for file in found.values()] == [
        ("grub/grub.cfg", 0o644),
        ("grub/grubenv", 0o644),
        ("grub/state", 0o644),
    ]
    assert (
        found["grub/grub.cfg"].source == grub_cfg(GrubConfig(), [PLAIN, RICH], RICH, SAME).encode()
    )


def test_grubenv_is_what_grub_makes(tmp_path: Path) -> None:
    made = tmp_path / "grubenv"
    output("grub-editenv", made, "create")
    assert files_of(GrubConfig(), SAME, PLAIN)["grub/grubenv"].source == made.read_bytes()


def test_a_boot_partition_has_every_kernel_once() -> None:
    again = generation(1)
    found = files_of(GrubConfig(), FAT, again, PLAIN, RICH)
    kernels = {path: file.source for path, file in found.items() if path.startswith("kernels/")}
    assert kernels == {
        f"kernels/{digit * 32}-{name}-{file}": Path(f"{path_of(name, digit)}/{file}")
        for digit in "1289"
        for name, file in (("linux-6.6", "bzImage"), ("initrd", "initrd"))
    }
    text = found["grub/grub.cfg"].source
    assert isinstance(text, bytes)
    assert all(path.encode() in text for path in kernels)


def test_kernels_that_the_menu_does_not_name_are_not_copied() -> None:
    old = generation(1)
    found = files_of(GrubConfig(configuration_limit=1), FAT, old, generation(3), generation(4))
    assert {path[8] for path in found if path.startswith("kernels/")} == {"4"}
    none = files_of(GrubConfig(configuration_limit=0), FAT, old)
    assert {path[8] for path in none if path.startswith("kernels/")} == {"1"}


def test_what_the_menu_shows_is_copied() -> None:
    config = GrubConfig(
        font="/nix/store/font",
        splash_image="/nix/store/a.jpg",
        theme=(BootFile("icons/a.png", Path("/nix/store/t/icons/a.png"), 0o444),),
    )
    found = files_of(config, SAME, PLAIN)
    assert [*found.values()][:2] == [
        BootFile("background.jpeg", Path("/nix/store/a.jpg"), 0o644),
        BootFile("converted-font.pf2", Path("/nix/store/font"), 0o644),
    ]
    assert found["theme/icons/a.png"] == BootFile(
        "theme/icons/a.png", Path("/nix/store/t/icons/a.png"), 0o444
    )


def test_a_default_that_is_none_of_the_generations_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^/nix/store/x cannot be booted"):
        grub_files(STORE, GrubConfig(), [PLAIN], "/nix/store/x", SAME, installed=INSTALLED)


@pytest.mark.parametrize(
    ("bios", "efi", "expected"),
    [
        (BIOS, EFI, "both"),
        (BIOS, None, "no"),
        (None, "", "only"),
    ],
)
def test_without_settings_the_state_tells_what_was_installed(
    bios: str | None, efi: str | None, expected: str
) -> None:
    state = grub_state(GrubConfig(), InstalledGrub("grub", "2.06", bios=bios, efi=efi))
    paths = f'"grub":"{bios or ""}","grubEfi":"{efi or ""}"'
    assert state.decode() == (
        f'grub\n2.06\n{expected}\nnodev\n/boot\n{{"extraGrubInstallArgs":[],{paths}}}\n'
    )


@pytest.mark.parametrize(
    ("grub", "efi", "installed", "version", "target"),
    [
        ("", "", (BIOS, ""), "2.12", "neither"),
        (BIOS, "", (BIOS, EFI), "2.12", "no"),
        ("", EFI, (None, EFI), "2.12", "only"),
        (BIOS, EFI, (BIOS, EFI), "2.12", "both"),
        # The state has another GRUB, so that the next rebuild installs its own.
        (BIOS, EFI, (BIOS, None), "2.06", "both"),
        (BIOS, EFI, (BIOS, BIOS), "2.06", "both"),
        (BIOS, "", ("", None), "2.06", "no"),
    ],
)
def test_the_state_is_what_nixos_would_write(
    grub: str, efi: str, installed: tuple[str | None, str | None], version: str, target: str
) -> None:
    config = GrubConfig(
        path="/nix/store/x",
        grub=grub,
        grub_efi=efi,
        full_name="grub",
        full_version="2.12",
        devices=("/dev/vda", "/dev/vdb"),
        efi_mount_point="/boot/efi",
        extra_install_args=("--modules=a b", '--x=é/"q'),
    )
    found = [
        path or "" if wanted else "" for path, wanted in zip(installed, (grub, efi), strict=True)
    ]
    # The last line as Perl's JSON has it: bytes of UTF-8, no spaces, no escaped slash.
    assert grub_state(config, InstalledGrub("grub", "2.06", *installed)).decode() == (
        f"grub\n{version}\n{target}\n/dev/vda,/dev/vdb\n/boot/efi\n"
        '{"extraGrubInstallArgs":["--modules=a b","--x=é/\\"q"],'
        f'"grub":"{found[0]}","grubEfi":"{found[1]}"}}\n'
    )
