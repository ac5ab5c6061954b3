"""The role of a ready-made EFI program: shim, GRUB, a helper of shim, or another.

Source of the marks: shim's version.c, MokManager.c and fallback.c, systemd's boot.c.
"""

from enum import Enum

from assembler.binaries.core_image import CoreImageError, read_efi_core
from assembler.machines import Machine


class ProgramRole(Enum):
    """What a program is, with how the names of its files start."""

    SHIM = ("shim",)
    GRUB = ("grub", "gcd")  # gcd is Debian's for CDs
    MOK_MANAGER = ("mm", "mokmanager")
    FALLBACK = ("fb", "fallback")
    SYSTEMD_BOOT = ("systemd-boot",)
    OTHER = ("",)

    @staticmethod
    def of(name: str) -> "ProgramRole":
        """The role of a file by its name."""
        return next(role for role in ProgramRole if name.lower().startswith(role.value))


_HEADERS = 4096  # bytes, where the names of sections are

_MARKS = (
    (ProgramRole.SYSTEMD_BOOT, (b"#### LoaderInfo: systemd-boot ",)),
    (ProgramRole.SHIM, (b"UEFI SHIM\n$Version: ",)),
    (ProgramRole.MOK_MANAGER, ("Perform MOK management".encode("utf-16-le"),)),
    (
        ProgramRole.FALLBACK,
        tuple(
            name.encode("utf-16-le")
            for machine in Machine
            for name in (f"boot{machine}.csv", f"BOOT{machine.upper()}.CSV")
        ),
    ),
)


def role_of(name: str, data: bytes) -> ProgramRole:
    """The role of a program by its content, or else by the name of its file.

    A file that is only named like GRUB, and a GRUB with damaged modules, count as GRUB.
    """
    for role, marks in _MARKS:
        if any(mark in data for mark in marks):
            return role
    try:
        read_efi_core(data)
    except CoreImageError:
        damaged = b"GRUB" in data and b"mods\0\0\0\0" in data[:_HEADERS]
        return ProgramRole.GRUB if damaged else ProgramRole.of(name)
    return ProgramRole.GRUB
