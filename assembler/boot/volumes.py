"""The file systems of a disk that a boot loader deals with, and what each is for."""

from dataclasses import dataclass
from enum import StrEnum

from assembler.disk.layout import Layout, Partition


class Role(StrEnum):
    """What a file system of the disk is for."""

    ROOT = "root"
    ESP = "esp"
    BOOT = "boot"  # a partition for kernels: an XBOOTLDR, or the FAT of an MBR

    @property
    def words(self) -> str:
        """Its name in messages."""
        return _WORDS[self]

    @property
    def identity_key(self) -> str:
        """The name from which its UUID or serial number is derived."""
        return _IDENTITY_KEYS[self]

    def of(self, layout: Layout) -> Partition | None:
        """Its partition, None on a disk without one."""
        return {Role.ROOT: layout.root, Role.ESP: layout.esp, Role.BOOT: layout.xbootldr}[self]


_WORDS = {
    Role.ROOT: "root file system",
    Role.ESP: "EFI system partition",
    Role.BOOT: "boot partition",
}
# Part of an image's identity: another key gives the same system another UUID or serial number.
_IDENTITY_KEYS = {
    Role.ROOT: "root file system",
    Role.ESP: "EFI system partition",
    Role.BOOT: "boot partition",
}


@dataclass(frozen=True, slots=True)
class Volume:
    """One file system of the disk: what it is for, how it is named, where the system mounts it.

    `uuid` has the form of blkid(8): lower case with dashes, or `ABCD-1234` for a FAT.
    """

    role: Role
    uuid: str
    label: str
    place: str = ""  # an absolute path; empty where the system does not mount it

    @property
    def serial(self) -> int:
        """The serial number of a FAT, 32 bits."""
        return int(self.uuid.replace("-", ""), 16)
