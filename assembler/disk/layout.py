"""Where the partitions of a disk lie, and what they are called. All sizes are in bytes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from uuid import UUID

from assembler.errors import RequestError
from assembler.units import MIB, SECTOR, format_size, round_up

_ALIGNMENT = MIB
_FIRST = 1 * MIB  # where the first partition may begin
_BIOS_BOOT_END = 2 * MIB  # in legacy+gpt; where an ESP follows, it takes all that is before
# As in nixpkgs, nixos/lib/make-disk-image.nix.
_ESP_START = 8 * MIB
_XBOOTLDR_START = 100 * MIB
_MAX_MBR = 0xFFFFFFFF * SECTOR  # its entries count sectors in 32 bits
_BACKUP_TABLE = 1 * MIB  # the backup GPT takes 33 sectors; a whole MiB keeps the size round


class Table(StrEnum):
    """Partition tables by nixpkgs' names."""

    LEGACY = "legacy"  # MBR, for BIOS
    LEGACY_BOOT = "legacy+boot"  # the same with a FAT for /boot
    LEGACY_GPT = "legacy+gpt"  # GPT, for BIOS
    EFI = "efi"
    EFIXBOOTLDR = "efixbootldr"  # an ESP for the boot loader, another partition for kernels
    HYBRID = "hybrid"  # for BIOS and UEFI
    NONE = "none"  # a bare file system

    @property
    def boots_bios(self) -> bool:
        """Whether there is room for what a BIOS starts."""
        return self.is_mbr or self in (Table.LEGACY_GPT, Table.HYBRID)

    @property
    def boots_efi(self) -> bool:
        """Whether there is an EFI system partition."""
        return self in (Table.EFI, Table.EFIXBOOTLDR, Table.HYBRID)

    @property
    def has_boot_partition(self) -> bool:
        """Whether there is a partition for kernels besides an EFI system partition."""
        return self in (Table.EFIXBOOTLDR, Table.LEGACY_BOOT)

    @property
    def is_mbr(self) -> bool:
        """Whether it is a table in the first sector alone."""
        return self in (Table.LEGACY, Table.LEGACY_BOOT)

    @property
    def is_gpt(self) -> bool:
        """Whether it is a GUID partition table."""
        return not self.is_mbr and self is not Table.NONE


class PartitionType(Enum):
    """Partition type GUIDs.

    UEFI specification 5.3.3; GNU Parted, libparted/labels/gpt.c; roots and XBOOTLDR:
    Discoverable Partitions Specification.
    """

    ESP = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
    XBOOTLDR = UUID("bc13c2ff-59e6-4262-a352-b275fd6f7172")
    BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")
    ROOT_X86_64 = UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
    ROOT_ARM64 = UUID("b921b045-1df0-41c3-af44-4c6f280d3fae")
    LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")  # any file system of Linux's


ROOT_TYPES = {
    "x86_64-linux": PartitionType.ROOT_X86_64,
    "aarch64-linux": PartitionType.ROOT_ARM64,
}


def root_type(architecture: str) -> PartitionType:
    """The type of the root partition of a system for a platform, as Nix calls it."""
    return ROOT_TYPES.get(architecture, PartitionType.LINUX)


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: its place in the image (bytes) and how the table names it."""

    number: int  # its entry in the table, from 1; 0 is the whole disk, without a table
    name: str  # in a GPT
    type: PartitionType
    guid: UUID  # in a GPT
    start: int
    size: int

    @property
    def end(self) -> int:
        """The first byte after the partition."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole disk: its size in bytes, and its partitions in the order of their numbers.

    The root is the last: a machine can make it larger when its disk is.
    """

    table: Table
    size: int
    disk_guid: UUID
    partitions: tuple[Partition, ...]
    sector_size: int = SECTOR  # bytes in a logical block of the disk

    @property
    def disk_signature(self) -> int:
        """The disk's signature in an MBR: the last 32 bits of the GUID, and never 0."""
        return self.disk_guid.int & 0xFFFFFFFF or 1

    @property
    def esp(self) -> Partition | None:
        """The EFI system partition."""
        return self._of(PartitionType.ESP)

    @property
    def xbootldr(self) -> Partition | None:
        """The extended boot loader partition, or the FAT of an MBR, which holds kernels."""
        return self._of(PartitionType.XBOOTLDR)

    @property
    def bios_boot(self) -> Partition | None:
        """The BIOS boot partition, which holds GRUB's core image on a GPT."""
        return self._of(PartitionType.BIOS_BOOT)

    @property
    def core_area(self) -> tuple[int, int] | None:
        """Where GRUB's core image for BIOS may lie: its start and size, None where nowhere.

        That is the BIOS boot partition, or the gap between an MBR and the first partition.
        """
        if self.bios_boot is not None:
            return self.bios_boot.start, self.bios_boot.size
        if not self.table.is_mbr:
            return None
        return SECTOR, min(partition.start for partition in self.partitions) - SECTOR

    @property
    def root(self) -> Partition:
        """The partition of the root file system."""
        return self.partitions[-1]

    def with_names(
        self,
        names: Mapping[int, str],
        guids: Mapping[int, UUID],
        *,
        disk_guid: UUID | None = None,
        signature: int | None = None,
    ) -> "Layout":
        """With other names and GUIDs for the partitions of the numbers given, and for the disk."""
        named = (
            replace(one, name=names.get(one.number, one.name), guid=guids.get(one.number, one.guid))
            for one in self.partitions
        )
        whole = self.disk_guid if disk_guid is None else disk_guid
        if signature is not None:
            whole = UUID(int=whole.int >> 32 << 32 | signature)
        return replace(self, partitions=tuple(named), disk_guid=whole)

    def _of(self, kind: PartitionType) -> Partition | None:
        return next((partition for partition in self.partitions if partition.type is kind), None)


def make_layout(
    table: Table,
    *,
    root_size: int,
    boot_size: int,
    seed: Callable[[str], UUID],
    root_type: PartitionType = PartitionType.ROOT_X86_64,
    sector_size: int = SECTOR,
) -> Layout:
    """Lay a disk out, with the places, names and numbers that nixpkgs gives its partitions.

    `boot_size` is that of the ESP or, where there is one, the partition for kernels, in bytes; the
    root has at least `root_size` bytes. Everything ends on a whole MiB. `seed` gives the GUID for
    a name: the same name must give the same GUID. Raises RequestError when `boot_size` is needed
    and not a whole number of MiB, and for a disk too large for an MBR.
    """
    if (table.boots_efi or table.has_boot_partition) and (boot_size <= 0 or boot_size % _ALIGNMENT):
        raise RequestError(
            f"a boot partition of {boot_size} bytes ({format_size(boot_size)}) "
            "is not a whole number of MiB"
        )
    before = _before_root(table, boot_size)
    first = 0 if table is Table.NONE else _FIRST
    root_start = max([first, *(end for _, _, _, end in before)])
    root_end = root_start + round_up(root_size, _ALIGNMENT)
    # An MBR leaves the same room: such a disk can be made a GPT one in place.
    size = root_end + (0 if table is Table.NONE else _BACKUP_TABLE)
    if table.is_mbr and size > _MAX_MBR:
        raise RequestError(
            f"a disk of {format_size(size)} is too large for an MBR, which ends at "
            f"{format_size(_MAX_MBR)}: take --partition-table legacy+gpt"
        )
    name = "ROOT" if table is Table.EFIXBOOTLDR else "primary"
    places = [*before, (name, root_type, root_start, root_end)]
    return Layout(
        table=table,
        size=size,
        disk_guid=seed("disk"),
        partitions=tuple(
            Partition(number, name, kind, seed(f"partition {number}"), start, end - start)
            for number, (name, kind, start, end) in enumerate(
                places, start=0 if table is Table.NONE else 1
            )
        ),
        sector_size=sector_size,
    )


def shape(table: Table, root_type: PartitionType = PartitionType.LINUX) -> Layout:
    """The partitions of a disk, whose sizes and GUIDs are of no account."""
    return make_layout(
        table, root_size=0, boot_size=_ALIGNMENT, seed=lambda _: UUID(int=0), root_type=root_type
    )


def _before_root(table: Table, boot_size: int) -> list[tuple[str, PartitionType, int, int]]:
    """The partitions besides the root, in the order of their numbers: name, type, start, end."""
    esp = ("ESP", PartitionType.ESP, _ESP_START, _ESP_START + boot_size)
    match table:
        case Table.LEGACY_BOOT:
            return [("primary", PartitionType.XBOOTLDR, _FIRST, _FIRST + boot_size)]
        case Table.LEGACY_GPT:
            return [("no-fs", PartitionType.BIOS_BOOT, _FIRST, _BIOS_BOOT_END)]
        case Table.EFI:
            return [esp]
        case Table.EFIXBOOTLDR:
            end = _XBOOTLDR_START + boot_size
            return [
                ("ESP", PartitionType.ESP, _ESP_START, _XBOOTLDR_START),
                ("BOOT", PartitionType.XBOOTLDR, _XBOOTLDR_START, end),
            ]
        case Table.HYBRID:
            return [esp, ("no-fs", PartitionType.BIOS_BOOT, _FIRST, _ESP_START)]
    return []
