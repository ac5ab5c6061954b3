"""systemd-boot's program is found in the closure, or else on the host.

Without these tests, an image can get the host's systemd-boot in place of the system's, or one for
another machine.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from assembler.boot.boot_file import BootFile
from assembler.boot.systemd_boot.program import find_systemd_boot, systemd_boot_programs
from assembler.errors import RequestError
from assembler.machines import Machine
from assembler.store.paths import StoreRoot
from assembler.store.registration import format_registration
from assembler.store.sources import read_source
from assembler.tree.closure_files import ClosureFiles
from tests.support.efi_programs import GRUB_IA32, SYSTEMD_BOOT
from tests.support.helpers import nix_store, real_info
from tests.support.systems import store_path

ONE, TWO = store_path(1, "systemd"), store_path(2, "other-systemd")
Put = Callable[[str, Path], Path]


@pytest.fixture
def store(tmp_path: Path) -> StoreRoot:
    return StoreRoot(tmp_path)


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Puts a program of the host into the store, at a path of the image."""

    def make(path: str, program: Path) -> Path:
        target = tmp_path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(program, target))

    return make


def test_it_comes_out_of_an_export(put: Put, tmp_path: Path) -> None:
    put(f"{ONE}/lib/systemd/boot/efi/systemd-bootx64.efi", SYSTEMD_BOOT)
    nix_store(tmp_path, "--load-db", stdin=format_registration([real_info(tmp_path, ONE)]))
    export = tmp_path / "export"
    export.write_bytes(nix_store(tmp_path, "--export", ONE))
    files = ClosureFiles(StoreRoot(tmp_path / "absent"), tmp_path / "scratch")
    read_source(export, files.receive)
    program = find_systemd_boot(files, [ONE], Machine.X64)
    assert program.is_relative_to(tmp_path / "scratch")
    assert program.read_bytes() == SYSTEMD_BOOT.read_bytes()


@pytest.mark.parametrize("prefix", ["", "/usr"])
def test_the_closures_systemd_boot_comes_first(store: StoreRoot, put: Put, prefix: str) -> None:
    assert find_systemd_boot(store, [ONE], Machine.X64) == SYSTEMD_BOOT
    program = put(f"{ONE}{prefix}/lib/systemd/boot/efi/systemd-bootx64.efi", SYSTEMD_BOOT)
    assert find_systemd_boot(store, [TWO, ONE], Machine.X64) == program
    named = put(f"{TWO}/lib/systemd/boot/efi/systemd-bootx64.efi", SYSTEMD_BOOT)
    assert find_systemd_boot(store, [TWO, ONE], Machine.X64, first=TWO) == named


def test_systemd_boot_for_another_machine_is_not_taken(store: StoreRoot, put: Put) -> None:
    place = f"{ONE}/lib/systemd/boot/efi/systemd-boot"
    put(f"{place}ia32.efi", SYSTEMD_BOOT)
    with pytest.raises(RequestError):
        find_systemd_boot(store, [ONE], Machine.IA32)
    program = put(f"{place}ia32.efi", GRUB_IA32)
    assert find_systemd_boot(store, [ONE], Machine.IA32) == program


def test_a_host_without_systemd_boot_is_told_what_to_install(store: StoreRoot) -> None:
    with pytest.raises(RequestError) as caught:
        find_systemd_boot(store, [ONE], Machine.AA64)
    assert str(caught.value) == (
        "systemd-bootaa64.efi is neither in the closure nor on this host: it is in the package "
        "systemd-boot-efi (Debian) or systemd (nixpkgs)"
    )


def test_a_damaged_systemd_boot_is_told(store: StoreRoot, put: Put) -> None:
    program = put(f"{ONE}/lib/systemd/boot/efi/systemd-bootx64.efi", SYSTEMD_BOOT)
    program.write_bytes(SYSTEMD_BOOT.read_bytes()[:5000])
    with pytest.raises(RequestError, match=r"systemd-bootx64\.efi: it is cut short: 5000 bytes"):
        find_systemd_boot(store, [ONE], Machine.X64)


@pytest.mark.parametrize(
    ("machine", "paths"),
    [
        (Machine.X64, ["EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"]),
        (Machine.AA64, ["EFI/BOOT/BOOTAA64.EFI", "EFI/systemd/systemd-bootaa64.efi"]),
    ],
)
def test_systemd_boot_is_where_bootctl_puts_it(machine: Machine, paths: list[str]) -> None:
    assert systemd_boot_programs(SYSTEMD_BOOT, machine) == [
        BootFile(path, SYSTEMD_BOOT) for path in paths
    ]
