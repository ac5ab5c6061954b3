"""The partition tables that there are: a new one is a name in `Table` and an entry of `_SHAPES`.

Sizes are in bytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from assembler.machines import Machine, machine_of
from assembler.units import MIB, SECTOR

FIRST = 1 * MIB  # where the first partition may begin
_BACKUP_TABLE = 1 * MIB  # the backup GPT takes 33 sectors; a whole MiB keeps the size round
# As in nixpkgs, nixos/lib/make-disk-image.nix.
_ESP_START = 8 * MIB
_XBOOTLDR_START = 100 * MIB
# Where parted 3.6 puts the BIOS boot partition of nixpkgs' `hybrid`: from the table to 1 MiB.
_BEHIND_TABLE = 34 * SECTOR, 1 * MIB


class PartitionType(StrEnum):
    """Partition type GUIDs, but for those of roots, of which each machine has its own.

    UEFI specification 5.3.3; GNU Parted, libparted/labels/gpt.c; XBOOTLDR: Discoverable Partitions
    Specification.
    """

    ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
    XBOOTLDR = "bc13c2ff-59e6-4262-a352-b275fd6f7172"
    BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
    LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"  # any file system of Linux's


ROOT_TYPES = frozenset(one.facts.root_type for one in Machine if one.facts.root_type)


class LayoutRules(StrEnum):
    """By which rules partitions get their places and types."""

    OWN = "own"  # those of this program
    NIXPKGS = "nixpkgs"  # those of nixpkgs' nixos/lib/make-disk-image.nix, to the sector


def root_type(architecture: str, rules: LayoutRules = LayoutRules.OWN) -> str:
    """The type of the root partition of a system for a platform, as Nix calls it.

    By nixpkgs' rules all are of the type that parted gives them.
    """
    machine = None if rules is LayoutRules.NIXPKGS else machine_of(architecture)
    return (machine and machine.facts.root_type) or PartitionType.LINUX


class Scheme(Enum):
    """How partitions are written down on a disk."""

    MBR = "MBR"  # in the first sector alone
    GPT = "GPT"
    NONE = "none"  # there are none


@dataclass(frozen=True, slots=True)
class Slot:
    """A partition besides the root: its name in a GPT, its type, where it begins and ends."""

    name: str
    type: PartitionType
    start: int
    end: int | None = None  # None: it has the size that is asked for
    in_nixpkgs: tuple[int, int] | None = None  # start and end by nixpkgs' rules, if they differ

    def place(self, boot_size: int, rules: LayoutRules) -> tuple[int, int]:
        """Where it begins and ends if a partition of `boot_size` is asked for.

        By nixpkgs' rules `boot_size` is where the partition ends, rounded to the next MiB; a whole
        number of MiB is rounded, too (`round_to_nearest` in make-disk-image.nix).
        """
        if rules is LayoutRules.OWN:
            return self.start, self.start + boot_size if self.end is None else self.end
        if self.in_nixpkgs is not None:
            return self.in_nixpkgs
        return self.start, (boot_size // MIB + 1) * MIB if self.end is None else self.end


class Table(StrEnum):
    """Partition tables by nixpkgs' names; `_SHAPES` has what they are."""

    LEGACY = "legacy"
    LEGACY_BOOT = "legacy+boot"
    LEGACY_GPT = "legacy+gpt"
    EFI = "efi"
    EFIXBOOTLDR = "efixbootldr"
    HYBRID = "hybrid"
    NONE = "none"

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The partitions besides the root, in the order of their numbers; the root comes last."""
        return _SHAPES[self].slots

    @property
    def root_name(self) -> str:
        """The name of the root partition, in a GPT."""
        return _SHAPES[self].root_name

    @property
    def has_partitions(self) -> bool:
        """Whether the disk is divided; otherwise the root file system is the whole disk."""
        return _SHAPES[self].scheme is not Scheme.NONE

    @property
    def first_start(self) -> int:
        """Where the first partition may begin."""
        return FIRST if self.has_partitions else 0

    @property
    def first_number(self) -> int:
        """The number of the first partition; 0 is the whole disk."""
        return 1 if self.has_partitions else 0

    def room_behind(self, rules: LayoutRules) -> int:
        """What is left free behind the last partition.

        By our own rules an MBR leaves what a GPT needs, so that the disk can be converted in place.
        """
        to_the_end = self.is_mbr and rules is LayoutRules.NIXPKGS
        return _BACKUP_TABLE if self.has_partitions and not to_the_end else 0

    @property
    def is_mbr(self) -> bool:
        """Whether it is a table in the first sector alone."""
        return _SHAPES[self].scheme is Scheme.MBR

    @property
    def is_gpt(self) -> bool:
        """Whether it is a GUID partition table."""
        return _SHAPES[self].scheme is Scheme.GPT

    @property
    def boots_bios(self) -> bool:
        """Whether there is room for what a BIOS starts."""
        return self.is_mbr or self._has(PartitionType.BIOS_BOOT)

    @property
    def boots_efi(self) -> bool:
        """Whether there is an EFI system partition."""
        return self._has(PartitionType.ESP)

    @property
    def has_boot_partition(self) -> bool:
        """Whether there is a partition for kernels besides an EFI system partition."""
        return self._has(PartitionType.XBOOTLDR)

    @property
    def is_sized(self) -> bool:
        """Whether one of its partitions has the size that is asked for."""
        return any(slot.end is None for slot in self.slots)

    def _has(self, kind: PartitionType) -> bool:
        return any(slot.type is kind for slot in self.slots)


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a disk is divided."""

    scheme: Scheme
    slots: tuple[Slot, ...] = ()
    root_name: str = "primary"


_ESP = Slot("ESP", PartitionType.ESP, _ESP_START)
_SHAPES: Mapping[Table, _Shape] = {
    Table.LEGACY: _Shape(Scheme.MBR),
    # The same with a FAT for /boot.
    Table.LEGACY_BOOT: _Shape(Scheme.MBR, (Slot("primary", PartitionType.XBOOTLDR, FIRST),)),
    Table.LEGACY_GPT: _Shape(Scheme.GPT, (Slot("no-fs", PartitionType.BIOS_BOOT, FIRST, 2 * MIB),)),
    Table.EFI: _Shape(Scheme.GPT, (_ESP,)),
    Table.EFIXBOOTLDR: _Shape(
        Scheme.GPT,
        (
            Slot("ESP", PartitionType.ESP, _ESP_START, _XBOOTLDR_START),
            Slot("BOOT", PartitionType.XBOOTLDR, _XBOOTLDR_START),
        ),
        root_name="ROOT",
    ),
    Table.HYBRID: _Shape(
        Scheme.GPT,
        (_ESP, Slot("no-fs", PartitionType.BIOS_BOOT, FIRST, _ESP_START, _BEHIND_TABLE)),
    ),
    Table.NONE: _Shape(Scheme.NONE),  # a bare file system
}


def tables_that(fit: Callable[[Table], bool], joint: str = "or") -> str:
    """The names of the tables that fit, for a message: `efi, efixbootldr or hybrid`."""
    *most, last = [table.value for table in Table if fit(table)]
    return f"{', '.join(most)} {joint} {last}" if most else last


FOR_BIOS = tables_that(lambda table: table.boots_bios)
FOR_EFI = tables_that(lambda table: table.boots_efi)
FOR_EFI_ALONE = tables_that(lambda table: table.boots_efi and not table.boots_bios)
FOR_BOOT = tables_that(lambda table: table.boots_efi or table.has_boot_partition)
