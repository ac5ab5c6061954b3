"""Where the partitions of a disk lie, and what they are called. All sizes are in bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from assembler.errors import RequestError
from assembler.units import MIB, format_size, round_up

_ALIGNMENT = MIB
_BIOS_BOOT_START = 1 * MIB
_ESP_START = 8 * MIB  # as in nixpkgs, nixos/lib/make-disk-image.nix
_BACKUP_TABLE = 1 * MIB  # the backup GPT takes 33 sectors; a whole MiB keeps the size round


class PartitionType(Enum):
    """Partition type GUIDs: UEFI specification 5.3.3; GNU Parted, libparted/labels/gpt.c."""

    ESP = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
    BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")
    LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")  # "Linux filesystem"


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: its place in the image (bytes) and how the table names it."""

    number: int  # its entry in the table, from 1
    name: str
    type: PartitionType
    guid: UUID
    start: int
    size: int

    @property
    def end(self) -> int:
        """The first byte after the partition."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole disk: its size in bytes, and its partitions in the order of their numbers."""

    size: int
    disk_guid: UUID
    partitions: tuple[Partition, ...]

    @property
    def esp(self) -> Partition:
        """The EFI system partition."""
        return self._only(PartitionType.ESP)

    @property
    def bios_boot(self) -> Partition:
        """The BIOS boot partition, which holds GRUB's core image."""
        return self._only(PartitionType.BIOS_BOOT)

    @property
    def root(self) -> Partition:
        """The partition of the root file system."""
        return self._only(PartitionType.LINUX)

    def _only(self, kind: PartitionType) -> Partition:
        [partition] = [partition for partition in self.partitions if partition.type is kind]
        return partition


def hybrid(root_size: int, boot_size: int, seed: Callable[[str], UUID]) -> Layout:
    """A disk that boots under BIOS and under UEFI, laid out and named as nixpkgs' `hybrid`.

    The ESP is exactly `boot_size` bytes, the root at least `root_size`; both end on a whole MiB.
    `seed` gives the GUID for a name: the same name must give the same GUID. Raises RequestError
    when `boot_size` is not a whole number of MiB.
    """
    if boot_size <= 0 or boot_size % _ALIGNMENT:
        raise RequestError(
            f"a boot partition of {boot_size} bytes ({format_size(boot_size)}) "
            "is not a whole number of MiB"
        )
    root_start = _ESP_START + boot_size
    root_size = round_up(root_size, _ALIGNMENT)

    def partition(number: int, name: str, kind: PartitionType, start: int, size: int) -> Partition:
        return Partition(number, name, kind, seed(f"partition {number}"), start, size)

    return Layout(
        size=root_start + root_size + _BACKUP_TABLE,
        disk_guid=seed("disk"),
        partitions=(
            partition(1, "ESP", PartitionType.ESP, _ESP_START, boot_size),
            partition(
                2,
                "no-fs",
                PartitionType.BIOS_BOOT,
                _BIOS_BOOT_START,
                _ESP_START - _BIOS_BOOT_START,
            ),
            partition(3, "primary", PartitionType.LINUX, root_start, root_size),
        ),
    )
