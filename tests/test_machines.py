"""The names of machines in GRUB, UEFI, Linux and Nix belong together.

Without these tests, an image can get a boot program under a name that the firmware does not look
for.
"""

import pytest

from assembler.boot.grub.grub import BIOS, PLATFORMS
from assembler.machines import SYSTEMS, Machine, machine_of
from tests.support.helpers import output


@pytest.mark.parametrize(
    ("machine", "path"),
    [
        (Machine.X64, "EFI/BOOT/BOOTX64.EFI"),
        (Machine.IA32, "EFI/BOOT/BOOTIA32.EFI"),
        (Machine.AA64, "EFI/BOOT/BOOTAA64.EFI"),
    ],
)
def test_firmware_has_a_name_for_each_machine(machine: Machine, path: str) -> None:
    assert machine.boot_program == path


@pytest.mark.parametrize(
    ("system", "machine"),
    [
        ("x86_64-linux", Machine.X64),
        ("i686-linux", Machine.IA32),
        ("aarch64-linux", Machine.AA64),
        ("riscv64-linux", None),
        ("x86_64-darwin", None),
        ("", None),
    ],
)
def test_nix_systems_have_machines(system: str, machine: Machine | None) -> None:
    assert machine_of(system) is machine


def test_systems_that_are_booted() -> None:
    assert SYSTEMS == ("x86_64-linux", "aarch64-linux")


def test_grub_knows_each_platform_by_our_name() -> None:
    known = output("sh", "-c", "grub-mkimage --help").decode()
    for machine in Machine:
        assert machine.facts.grub in known
    assert [str(one) for one in PLATFORMS if one != BIOS] == [one.facts.grub for one in Machine]


def test_a_name_is_the_string_itself() -> None:
    assert [f"{machine}" for machine in Machine] == ["x64", "ia32", "aa64"]
    assert Machine("x64") is Machine.X64
