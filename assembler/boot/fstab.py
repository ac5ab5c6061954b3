"""Read from a system's /etc/fstab where it will mount its boot partitions: fstab(5)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from assembler.disk.layout import Table
from assembler.store.paths import AbsentError, Store

_ESCAPE = re.compile(r"\\([0-7]{3})")  # fstab(5): a space is \040
# As fstab(5) and udev write a file system that is named by its label, or by a FAT's serial number.
_LABEL = re.compile(r"(?:LABEL=|/dev/disk/by-label/)(.+)")
_PARTITION_NAME = re.compile(r"(?:PARTLABEL=|/dev/disk/by-partlabel/)([A-Za-z0-9._+-]{1,36})")
_UUID = re.compile(r"(?:UUID=|/dev/disk/by-uuid/)([0-9A-Fa-f]{4})-([0-9A-Fa-f]{4})")
_FAT_LABEL = re.compile(r"[A-Za-z0-9_-]{1,11}")
_BOOT = "/boot"


# Names that a device has whatever is on it.
_ANYWHERE = re.compile(r"/dev/(?!disk/)[a-z0-9/]+")


@dataclass(frozen=True, slots=True)
class Mount:
    """One file system that a system mounts: device as it is written there, place and type."""

    device: str
    place: str
    kind: str

    @property
    def label(self) -> str | None:
        """The label that the device is named by, where a FAT can have it."""
        found = _LABEL.fullmatch(self.device)
        return found[1] if found and _FAT_LABEL.fullmatch(found[1]) else None

    @property
    def volume_id(self) -> int | None:
        """The serial number (32 bits) that the device is named by."""
        found = _UUID.fullmatch(self.device)
        return int(found[1] + found[2], 16) if found else None

    @property
    def partition_name(self) -> str | None:
        """The name in a GPT that the device is named by, where it is plain (36 characters)."""
        found = _PARTITION_NAME.fullmatch(self.device)
        return found[1] if found else None

    @property
    def is_foreign(self) -> bool:
        """Whether the device is named in a way that no disk of ours can have."""
        own = (self.label, self.volume_id, self.partition_name)
        return all(name is None for name in own) and not _ANYWHERE.fullmatch(self.device)


def read_mounts(store: Store, system: str) -> list[Mount]:
    """The FAT file systems in a toplevel's etc/fstab, in its order; none where it has no fstab."""
    try:
        text = store.host(store.resolve(f"{system}/etc/fstab")).read_text(errors="surrogateescape")
    except (OSError, AbsentError):
        return []
    rows = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [
        Mount(*(_ESCAPE.sub(lambda code: chr(int(code[1], 8)), field) for field in row[:3]))
        for row in rows
        if len(row) >= 3 and row[2] in ("vfat", "msdos")
    ]


@dataclass(frozen=True, slots=True)
class BootMounts:
    """Where a system will have the FAT partitions of its disk."""

    esp: Mount | None  # where it mounts the EFI system partition
    xbootldr: Mount | None  # where it mounts the partition for kernels

    @property
    def boot_is_esp(self) -> bool:
        """Whether /boot is the EFI system partition."""
        return self.esp is not None and self.esp.place == _BOOT


def boot_mounts(table: Table, mounts: Sequence[Mount]) -> BootMounts:
    """Which of a system's mounts are the partitions that a table has.

    With `efixbootldr`, /boot is the XBOOTLDR partition and any other the ESP; with `legacy+boot`,
    /boot is the only one; where a table has
    an ESP alone, that is what /boot is, or the first of them.
    """
    boot = next((mount for mount in mounts if mount.place == _BOOT), None)
    others = [mount for mount in mounts if mount.place != _BOOT]
    if table.has_boot_partition:
        return BootMounts(others[0] if others and table.boots_efi else None, boot)
    if not table.boots_efi:
        return BootMounts(None, None)
    return BootMounts(boot or (others[0] if others else None), None)
