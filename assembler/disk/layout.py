"""Where the partitions of a disk are, and their names. All sizes are in bytes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from assembler.disk.tables import LayoutRules, PartitionType, Table
from assembler.errors import Message, RequestError, Setting
from assembler.machines import DEFAULT
from assembler.units import MIB, SECTOR, exact_sizes, format_size, round_up

_ALIGNMENT = MIB
_MAX_MBR = 0xFFFFFFFF * SECTOR  # its entries count sectors in 32 bits

PartitionGuid = tuple[int, UUID]  # the partition's number, and its own GUID in a GPT


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: its place in the image (bytes) and how the table names it."""

    number: int  # its entry in the table, from 1; 0 is the whole disk, without a table
    name: str  # in a GPT
    type: str  # a GUID
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

    The root is the last one, so that a machine can grow it after its disk has grown.
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
        """The start and size of the room for GRUB's core image for BIOS; None if there is none.

        It is the BIOS boot partition, or the gap between an MBR and the first partition.
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
        """The same disk with other names and GUIDs.

        `names` and `guids` are those of partitions, by their numbers. `disk_guid` and `signature`
        (32 bits, in an MBR) are those of the disk; None keeps them.
        """
        named = (
            replace(one, name=names.get(one.number, one.name), guid=guids.get(one.number, one.guid))
            for one in self.partitions
        )
        whole = self.disk_guid if disk_guid is None else disk_guid
        if signature is not None:
            whole = UUID(int=whole.int >> 32 << 32 | signature)
        return replace(self, partitions=tuple(named), disk_guid=whole)

    def _of(self, kind: PartitionType) -> Partition | None:
        return next((partition for partition in self.partitions if partition.type == kind), None)


def make_layout(
    table: Table,
    *,
    root_size: int,
    boot_size: int,
    seed: Callable[[str], UUID],
    root_type: str = DEFAULT.facts.root_type,
    sector_size: int = SECTOR,
    rules: LayoutRules = LayoutRules.OWN,
) -> Layout:
    """Lay a disk out, with the places, names and numbers that nixpkgs gives its partitions.

    `boot_size` is that of the ESP or, where there is one, the partition for kernels, in bytes; for
    nixpkgs' rules see `Slot.place`. The root has at least `root_size` bytes. Everything ends on a
    whole MiB. `seed` gives the GUID for a name, always the same for the same name. Raises
    RequestError when `boot_size` is needed and no partition can have it, and for a disk too large
    for an MBR.
    """
    if table.is_sized and rules is LayoutRules.OWN and (boot_size <= 0 or boot_size % _ALIGNMENT):
        raise RequestError(
            f"a boot partition of {boot_size} bytes ({format_size(boot_size)}) "
            "is not a whole number of MiB"
        )
    places: list[tuple[str, str, int, int]] = [
        (slot.name, slot.type, *slot.place(boot_size, rules)) for slot in table.slots
    ]
    for name, _, start, end in places:
        if end <= start:
            asked = Setting("boot_size", format_size(boot_size))
            why = f" is where the partition {name} ends, which begins at {format_size(start)}"
            raise RequestError([Message(asked, why, ": take more")])
    root_start = max([table.first_start, *(end for *_, end in places)])
    root_end = root_start + round_up(root_size, _ALIGNMENT)
    places.append((table.root_name, root_type, root_start, root_end))
    size = root_end + table.room_behind(rules)
    if table.is_mbr and size > _MAX_MBR:
        remedy = Setting("partition_table", Table.LEGACY_GPT)
        has, most = exact_sizes(size, _MAX_MBR)
        fault = f"a disk of {has} is too large for an MBR, which ends at {most}: take "
        raise RequestError([Message(fault, remedy)])
    return Layout(
        table=table,
        size=size,
        disk_guid=seed("disk"),
        partitions=tuple(
            Partition(number, name, kind, seed(f"partition {number}"), start, end - start)
            for number, (name, kind, start, end) in enumerate(places, table.first_number)
        ),
        sector_size=sector_size,
    )


def gpt_problems(table: Table, disk_guid: UUID | None, guids: Sequence[PartitionGuid]) -> list[str]:
    """One line for each GUID that is asked for and that a disk with this table cannot have."""
    named, lines = Setting("partition_table", table), list[str]()
    if not table.is_gpt:
        why, source = " is for a GPT, which ", Setting("root_partuuid", "SIGNATURE-NN")
        if disk_guid is not None:
            of_mbr = " does not make; the signature of an MBR comes from "
            lines.append(Message(Setting("disk_guid"), why, named, of_mbr, source))
        if guids:
            lines.append(Message(Setting("partition_guids"), why, named, " does not make"))
        return lines
    last = len(table.slots) + 1
    lines += [
        Message(Setting("partition_guids", f"{number}={guid}"), ": ", named, f" has 1 to {last}")
        for number, guid in guids
        if not 1 <= number <= last
    ]
    for what, index in (("number", 0), ("GUID", 1)):
        values = [str(one[index]) for one in guids]
        for twice in sorted({one for one in values if values.count(one) > 1}):
            why = f": the {what} {twice} is given twice"
            lines.append(Message(Setting("partition_guids"), why))
    return lines


def shape(table: Table, root_type: str = PartitionType.LINUX) -> Layout:
    """The partitions of a disk by their kinds and numbers; their sizes and GUIDs are not real."""
    return make_layout(
        table, root_size=0, boot_size=_ALIGNMENT, seed=lambda _: UUID(int=0), root_type=root_type
    )
