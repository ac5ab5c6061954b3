"""The machines that UEFI firmware is for, with all their names: the only table of them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


@dataclass(frozen=True, slots=True)
class Names:
    """What a machine is called; `pe` is its number in the PE format (UEFI specification, 2.1.1)."""

    pe: int
    words: str  # in messages
    nix: str
    grub: str  # the platform that GRUB is built for
    linux: str  # the architecture of its kernels, which two machines may share


class Machine(StrEnum):
    """A machine; the value is what shim and systemd call it in the names of files."""

    X64 = "x64", Names(0x8664, "x86-64", "x86_64-linux", "x86_64-efi", "x86")
    IA32 = "ia32", Names(0x014C, "i386", "i686-linux", "i386-efi", "x86")
    AA64 = "aa64", Names(0xAA64, "arm64", "aarch64-linux", "arm64-efi", "arm64")

    names: Names

    def __new__(cls, value: str, names: Names) -> Self:
        """Make a machine with all its names."""
        machine = str.__new__(cls, value)
        machine._value_ = value
        machine.names = names
        return machine

    @property
    def boot_program(self) -> str:
        """The program on the ESP that firmware starts from a disk without a boot entry: its path.

        Source: UEFI specification, 3.5.1.1.
        """
        return f"EFI/BOOT/BOOT{self.upper()}.EFI"

    @property
    def is_narrow(self) -> bool:
        """Whether its programs are of 32 bits."""
        return self is Machine.IA32


BIOS = "i386-pc"  # GRUB's name of the platform for BIOS
# The platforms of systems that can be booted, as Nix calls them.
SYSTEMS = (Machine.X64.names.nix, Machine.AA64.names.nix)


def machine_of(system: str) -> Machine | None:
    """The machine of one of Nix's systems (`x86_64-linux`); None for any that we cannot boot."""
    return next((machine for machine in Machine if machine.names.nix == system), None)


def machine_of_pe(number: int) -> Machine | None:
    """The machine with a number of the PE format."""
    return next((machine for machine in Machine if machine.names.pe == number), None)


def machine_of_grub(platform: str) -> Machine:
    """The machine that runs a GRUB for a platform, in GRUB's words; a BIOS runs 32-bit programs."""
    if platform == BIOS:
        return Machine.IA32
    return next(machine for machine in Machine if machine.names.grub == platform)
