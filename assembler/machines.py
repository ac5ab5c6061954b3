"""The machines that images are for, with every fact about them: a new one is a row of `Machine`."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What another room needs of a machine. Sources: beside the fields, or where they are used."""

    words: str  # its name in messages
    nix: str  # the platform of its systems, as Nix calls it
    linux: str  # the architecture of its kernels, which two machines may share
    has_systems: bool  # whether systems for it can be booted; else its firmware boots others
    has_bios: bool  # whether some have a BIOS
    pe: int  # its number in the PE format: UEFI specification, 2.1.1
    is_narrow: bool = False  # whether its EFI programs are of 32 bits
    grub: str  # the platform that GRUB for its UEFI is built for, and where that is packaged
    grub_packages: tuple[str, str]  # in Debian, in nixpkgs
    image_magic: bytes = b""  # of a kernel in the format Image; empty for a bzImage
    root_type: str = ""  # of a root partition: Discoverable Partitions Specification
    # Whether the firmware names the console of a kernel that has no parameter for it: Linux,
    # drivers/acpi/spcr.c and drivers/of/base.c.
    firmware_names_console: bool = False
    # The command of a QEMU, grouped as it is printed, and where distributions put UEFI firmware as
    # its -bios takes it, code and variables in one file.
    qemu: tuple[tuple[str, ...], ...] = ()
    qemu_firmware: tuple[str, ...] = ()


class Machine(StrEnum):
    """A machine; the value is what UEFI, shim and systemd call it in the names of files."""

    X64 = (
        "x64",
        Facts(
            words="x86-64",
            nix="x86_64-linux",
            linux="x86",
            has_systems=True,
            has_bios=True,
            pe=0x8664,
            grub="x86_64-efi",
            grub_packages=("grub-efi-amd64-bin", "grub2_efi"),
            root_type="4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
            qemu=(("qemu-system-x86_64", "-cpu", "max", "-m", "1G"), ("-snapshot",)),
            qemu_firmware=(
                "/usr/share/ovmf/OVMF.fd",
                "/usr/share/qemu/OVMF.fd",
                "/usr/share/OVMF/OVMF.fd",
            ),
        ),
    )
    # PCs whose firmware is of 32 bits; the systems that they boot are for x86-64.
    IA32 = (
        "ia32",
        Facts(
            words="i386",
            nix="i686-linux",
            linux="x86",
            has_systems=False,
            has_bios=True,
            pe=0x014C,
            is_narrow=True,
            grub="i386-efi",
            grub_packages=("grub-efi-ia32-bin", "pkgsi686Linux.grub2_efi"),
        ),
    )
    AA64 = (
        "aa64",
        Facts(
            words="arm64",
            nix="aarch64-linux",
            linux="arm64",
            has_systems=True,
            has_bios=False,
            pe=0xAA64,
            grub="arm64-efi",
            grub_packages=("grub-efi-arm64-bin", "pkgsCross.aarch64-multiplatform.grub2_efi"),
            image_magic=b"ARMd",
            root_type="b921b045-1df0-41c3-af44-4c6f280d3fae",
            firmware_names_console=True,
            qemu=(
                ("qemu-system-aarch64", "-machine", "virt"),
                ("-cpu", "max", "-m", "1G", "-snapshot"),
            ),
            qemu_firmware=(
                "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
                "/usr/share/edk2/aarch64/QEMU_EFI.fd",
            ),
        ),
    )

    facts: Facts

    def __new__(cls, value: str, facts: Facts) -> Self:
        """Make a machine with all its facts."""
        machine = str.__new__(cls, value)
        machine._value_ = value
        machine.facts = facts
        return machine

    @property
    def boot_program(self) -> str:
        """The program on the ESP that firmware starts from a disk without a boot entry: its path.

        Source: UEFI specification, 3.5.1.1.
        """
        return f"EFI/BOOT/BOOT{self.upper()}.EFI"


DEFAULT = Machine.X64  # where nothing names a machine
# The platforms of systems that can be booted, as Nix calls them.
SYSTEMS = tuple(machine.facts.nix for machine in Machine if machine.facts.has_systems)
GRUB_FOR_BIOS = "i386-pc"  # GRUB's name of the platform


def machine_of(system: str) -> Machine | None:
    """The machine of one of Nix's systems (`x86_64-linux`); None for any that is not known."""
    return next((machine for machine in Machine if machine.facts.nix == system), None)


def boots_by_efi_alone(system: str) -> bool:
    """Whether no machine for one of Nix's systems has a BIOS."""
    machine = machine_of(system)
    return machine is not None and not machine.facts.has_bios


def machine_of_pe(number: int) -> Machine | None:
    """The machine with a number of the PE format."""
    return next((machine for machine in Machine if machine.facts.pe == number), None)


def machine_of_grub(platform: str) -> Machine:
    """The machine that runs a GRUB for a platform, in GRUB's words; a BIOS runs 32-bit programs."""
    if platform == GRUB_FOR_BIOS:
        return Machine.IA32
    return next(machine for machine in Machine if machine.facts.grub == platform)
