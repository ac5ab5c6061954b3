"""Which of a system's mounts are the FAT partitions of its disk."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assembler.boot.mounts.fstab import Mount
from assembler.boot.places import BOOT
from assembler.boot.volumes import Role
from assembler.disk.layout import Layout

# Where systems mount an EFI system partition that is not /boot.
_ESP = re.compile(r".*/(?:efi|esp)[^/]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BootMounts:
    """Where a system mounts the FAT partitions of its disk."""

    esp: Mount | None = None  # the EFI system partition
    boot: Mount | None = None  # the partition for kernels

    def role_at(self, place: str) -> Role | None:
        """What is mounted at a place."""
        if self.esp is not None and self.esp.place == place:
            return Role.ESP
        return Role.BOOT if self.boot is not None and self.boot.place == place else None

    @property
    def boot_is_esp(self) -> bool:
        """Whether /boot is the EFI system partition."""
        return self.role_at(BOOT) is Role.ESP


def boot_mounts(
    layout: Layout, mounts: Sequence[Mount], esp_place: str = "", boot_place: str = ""
) -> BootMounts:
    """Which of a system's mounts are the FAT partitions of a disk.

    Where there is a partition for kernels, that is /boot; else /boot is the ESP. The places are
    where the boot loader's installer has them, empty if unknown.
    """
    fats = [one for one in mounts if one.is_fat and not one.is_bind and not one.subvolume]
    boot = _first(fats, lambda place: place == (boot_place or BOOT))
    esp = _first(fats, lambda place: place == esp_place) or _first(fats, is_esp_place)
    if layout.xbootldr is not None:
        return BootMounts(None if layout.esp is None else esp, boot)
    return BootMounts(None if layout.esp is None else boot or esp)


def is_esp_place(place: str) -> bool:
    """Whether systems mount an EFI system partition at a place."""
    return _ESP.fullmatch(place) is not None


def _first(mounts: Sequence[Mount], fits: Callable[[str], bool]) -> Mount | None:
    return next((mount for mount in mounts if fits(mount.place)), None)
