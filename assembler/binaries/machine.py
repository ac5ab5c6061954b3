"""The machines that UEFI firmware is for, by all the names that they have."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a machine is called; `pe` is its number in the PE format (UEFI specification, 2.1.1)."""

    pe: int
    words: str  # in messages, and as `Pe` has it
    nix: str
    grub: str  # the platform that GRUB is built for
    rpm: str
    linux: str  # its kernels


class Machine(StrEnum):
    """A machine; the value is what shim and systemd call it in the names of files."""

    X64 = (
        "x64",
        Names(
            pe=0x8664,
            words="x86-64",
            nix="x86_64-linux",
            grub="x86_64-efi",
            rpm="x86_64",
            linux="x86",
        ),
    )
    IA32 = (
        "ia32",
        Names(pe=0x014C, words="i386", nix="i686-linux", grub="i386-efi", rpm="i586", linux="x86"),
    )
    AA64 = (
        "aa64",
        Names(
            pe=0xAA64,
            words="arm64",
            nix="aarch64-linux",
            grub="arm64-efi",
            rpm="aarch64",
            linux="arm64",
        ),
    )
    RISCV64 = (
        "riscv64",
        Names(
            pe=0x5064,
            words="riscv64",
            nix="riscv64-linux",
            grub="riscv64-efi",
            rpm="riscv64",
            linux="riscv64",
        ),
    )

    names: Names

    def __new__(cls, value: str, names: Names) -> Self:
        """Make a machine with all its names."""
        machine = str.__new__(cls, value)
        machine._value_ = value
        machine.names = names
        return machine

    @property
    def boot_program(self) -> str:
        """What firmware starts on a medium that it was told nothing of: a path on the ESP.

        Source: UEFI specification, 3.5.1.1.
        """
        return f"EFI/BOOT/BOOT{self.upper()}.EFI"


# Those whose systems can be booted, or whose firmware can start such a system's boot loader.
BOOTED = (Machine.X64, Machine.IA32, Machine.AA64)
# The platforms of systems that can be booted, as Nix calls them.
SYSTEMS = (Machine.X64.names.nix, Machine.AA64.names.nix)


def machine_of(system: str) -> Machine | None:
    """The machine of one of Nix's systems (`x86_64-linux`); None where we boot none such."""
    return next((machine for machine in BOOTED if machine.names.nix == system), None)
