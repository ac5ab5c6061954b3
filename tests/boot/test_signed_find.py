import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from assembler.binaries.machine import Machine
from assembler.boot.signed.chain import EspFiles
from assembler.boot.signed.find import (
    find_signed,
    find_systemd_boot,
    systemd_boot_programs,
)
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from assembler.store.registration import format_registration
from assembler.store.sources import read_source
from assembler.tree.files import Files
from tests.support.efi_programs import (
    FALLBACK,
    GRUB,
    GRUB_IA32,
    MOK_MANAGER,
    SHIM,
    SIGNED_GRUB,
    SYSTEMD_BOOT,
    Signer,
)
from tests.support.helpers import nix_store, real_info
from tests.support.systems import store_path

ONE, TWO = store_path(1, "shim"), store_path(2, "grub-signed")
STUB = b"search.fs_uuid ABCD-1234 root\nset prefix=($root)/grub\nconfigfile $prefix/grub.cfg\n"
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


def esp(store: StoreRoot, *paths: str) -> EspFiles:
    found = find_signed(store, paths)
    return {} if found is None else found.files("ABCD-1234", "/grub")


@pytest.mark.parametrize(
    ("shim", "grub", "mok_manager"),
    [
        (
            "usr/lib/shim/shimx64.efi.signed",
            "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
            "usr/lib/shim/mmx64.efi.signed",
        ),
        (
            "usr/lib/shim/shimx64.efi.signed.latest",
            "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
            "usr/lib/shim/mmx64.efi",
        ),
        (
            "boot/efi/EFI/fedora/shimx64.efi",
            "boot/efi/EFI/fedora/grubx64.efi",
            "boot/efi/EFI/fedora/mmx64.efi",
        ),
        (
            "usr/share/efi/x86_64/shim.efi",
            "usr/share/efi/x86_64/grub.efi",
            "usr/share/efi/x86_64/MokManager.efi",
        ),
        ("share/shim/BOOTX64.EFI", "lib/grub/grub-x86_64.efi.signed", "share/shim/mmx64.efi"),
        ("share/shim/shimx64.efi", "share/grub/grubx64.efi.signed", "share/shim/mmx64.efi"),
        ("EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi", "EFI/BOOT/mmx64.efi"),
    ],
)
def test_signed_programs_are_found_where_packages_keep_them(
    store: StoreRoot, put: Put, shim: str, grub: str, mok_manager: str
) -> None:
    assert esp(store, ONE, TWO) == {}
    here = {
        "EFI/BOOT/BOOTX64.EFI": put(f"{ONE}/{shim}", SHIM),
        "EFI/BOOT/grubx64.efi": put(f"{TWO}/{grub}", SIGNED_GRUB),
        "EFI/BOOT/mmx64.efi": put(f"{ONE}/{mok_manager}", MOK_MANAGER),
    }
    assert esp(store, TWO, ONE) == {
        **here,
        "EFI/BOOT/grub.cfg": STUB,
        "EFI/debian/grub.cfg": STUB,
    }


def test_links_are_followed_in_the_store(store: StoreRoot, put: Put, tmp_path: Path) -> None:
    shim = put(f"{TWO}/any", SHIM)
    grub = put(f"{ONE}/lib/grub/x86_64-efi-signed/grubx64.efi.signed", SIGNED_GRUB)
    link = tmp_path / ONE.lstrip("/") / "lib" / "shim" / "shimx64.efi.signed"
    link.parent.mkdir(parents=True)
    link.symlink_to("/etc/alternatives/shimx64.efi.signed")
    assert esp(store, ONE, TWO) == {}
    link.unlink()
    link.symlink_to(f"{TWO}/any")
    files = esp(store, ONE, TWO)
    assert files["EFI/BOOT/BOOTX64.EFI"] == shim
    assert files["EFI/BOOT/grubx64.efi"] == grub


def test_shim_and_grub_are_of_no_use_alone(store: StoreRoot, put: Put) -> None:
    put(f"{ONE}/lib/shim/shimx64.efi.signed", SHIM)
    assert esp(store, ONE, TWO) == {}
    shutil.rmtree(store.host(ONE))
    put(f"{TWO}/lib/grub/x86_64-efi-signed/grubx64.efi.signed", SIGNED_GRUB)
    assert esp(store, ONE, TWO) == {}


def test_only_what_is_signed_is_taken(store: StoreRoot, put: Put) -> None:
    put(f"{ONE}/share/shim/shimx64.efi", Path("/usr/lib/shim/shimx64.efi"))
    put(f"{ONE}/share/shim/mmx64.efi", Path("/usr/lib/shim/mmx64.efi"))
    put(f"{TWO}/lib/grub/x86_64-efi-signed/grubx64.efi.signed", SIGNED_GRUB)
    assert esp(store, ONE, TWO) == {}
    put(f"{ONE}/share/shim/BOOTX64.EFI", SHIM)
    put(f"{ONE}/lib/shim/fbx64.efi.signed", FALLBACK)
    assert [*esp(store, ONE, TWO)] == [
        "EFI/BOOT/BOOTX64.EFI",
        "EFI/BOOT/grub.cfg",
        "EFI/BOOT/grubx64.efi",
        "EFI/debian/grub.cfg",
    ]
    put(f"{TWO}/lib/grub/x86_64-efi-signed/grubx64.efi.signed", GRUB)
    assert esp(store, ONE, TWO) == {}


def test_a_program_for_another_machine_is_not_taken(
    store: StoreRoot, put: Put, tmp_path: Path
) -> None:
    signed = Signer(tmp_path).sign(GRUB_IA32, tmp_path / "signed")
    put(f"{ONE}/lib/shim/shimx64.efi.signed", SHIM)
    put(f"{TWO}/lib/grub/x86_64-efi-signed/grubx64.efi.signed", signed)
    assert esp(store, ONE, TWO) == {}
    put(f"{TWO}/lib/grub/i386-efi-signed/grubia32.efi.signed", signed)
    put(f"{TWO}/lib/shim/shimia32.efi.signed", signed)
    assert {"EFI/BOOT/BOOTIA32.EFI", "EFI/BOOT/grubia32.efi"} < {*esp(store, ONE, TWO)}
    assert "EFI/BOOT/BOOTX64.EFI" not in esp(store, ONE, TWO)


def test_a_damaged_program_is_told_and_the_next_one_taken(
    store: StoreRoot, put: Put, caplog: pytest.LogCaptureFixture
) -> None:
    put(f"{TWO}/lib/grub/x86_64-efi-signed/grubx64.efi.signed", SIGNED_GRUB)
    shim = put(f"{TWO}/lib/shim/shimx64.efi.signed", SHIM)
    damaged = put(f"{ONE}/lib/shim/shimx64.efi.signed", SHIM)
    damaged.write_bytes(SHIM.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        assert esp(store, ONE, TWO)["EFI/BOOT/BOOTX64.EFI"] == shim
    [message] = caplog.messages
    assert message.startswith(f"{ONE}/lib/shim/shimx64.efi.signed is left out: its signatures are ")


def test_they_come_out_of_an_export(put: Put, tmp_path: Path) -> None:
    put(f"{ONE}/lib/shim/shimx64.efi.signed", SHIM)
    put(f"{ONE}/lib/grub/x86_64-efi-signed/grubx64.efi.signed", SIGNED_GRUB)
    put(f"{ONE}/lib/systemd/boot/efi/systemd-bootx64.efi", SYSTEMD_BOOT)
    nix_store(tmp_path, "--load-db", stdin=format_registration([real_info(tmp_path, ONE)]))
    export = tmp_path / "export"
    export.write_bytes(nix_store(tmp_path, "--export", ONE))
    files = Files(StoreRoot(tmp_path / "absent"), tmp_path / "scratch")
    read_source(export, files.receive)
    signed = find_signed(files, [ONE])
    assert signed is not None
    shim = signed.files("ABCD-1234", "/grub")["EFI/BOOT/BOOTX64.EFI"]
    assert isinstance(shim, Path)
    assert shim.read_bytes() == SHIM.read_bytes()
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
    assert systemd_boot_programs(SYSTEMD_BOOT, machine) == dict.fromkeys(paths, SYSTEMD_BOOT)
