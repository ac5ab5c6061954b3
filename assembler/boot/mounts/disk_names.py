"""The names of the file systems and partitions of a disk, and which names are possible."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count

from assembler.boot.mounts.devices import NamedDevice, Tag
from assembler.boot.volumes import Role
from assembler.disk.layout import Layout
from assembler.disk.tables import Table
from assembler.errors import Message, Setting
from assembler.filesystems.fat.kind import FAT
from assembler.filesystems.kind import Kind, RootKind
from assembler.filesystems.protocol import Subvolume

_NAME_UNITS = 36  # of UTF-16, in an entry of a GPT (UEFI specification 5.3.3)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SERIAL = re.compile(r"[0-9A-F]{4}-[0-9A-F]{4}")
_OF_MBR = re.compile(r"([0-9a-f]{8})-([0-9a-f]{2})")  # the disk's signature, the partition's number
_ZEROS = "cannot be all zeros, which stand for no UUID: choose another"
_WORDS = {
    Tag.LABEL: "label",
    Tag.UUID: "UUID",
    Tag.PARTLABEL: "partition name",
    Tag.PARTUUID: "partition UUID",
}


_USUAL = {Role.ROOT: "nixos", Role.ESP: "ESP", Role.BOOT: "BOOT"}  # labels that nixpkgs gives


@dataclass(frozen=True, slots=True)
class TargetDisk:
    """The facts about a disk on which its names depend; the sizes in `layout` do not matter."""

    layout: Layout
    kind: RootKind  # of the root file system; the others are FATs
    subvolumes: Sequence[Subvolume] = ()  # of the root file system
    # Where the boot loader's installer has the FATs mounted; empty: unknown.
    esp_place: str = ""
    boot_place: str = ""

    def kind_of(self, role: Role) -> Kind:
        """The kind of a file system."""
        return self.kind if role is Role.ROOT else FAT

    @property
    def roles(self) -> list[Role]:
        """What there are partitions for."""
        return [role for role in Role if role.of(self.layout) is not None]


@dataclass(frozen=True, slots=True)
class DiskNames:
    """The names of file systems and partitions that anything asks for, as udev writes them.

    A UUID of a FAT is its serial number, a partition UUID in an MBR the signature and a number.
    """

    asked: Mapping[tuple[Role, Tag], str] = field(default_factory=dict)
    disks: frozenset[str] = frozenset()  # what the machine must call the disk; see devices.Node

    def get(self, role: Role, tag: Tag) -> str | None:
        """The name that is asked for."""
        return self.asked.get((role, tag))

    def label(self, role: Role) -> str:
        """The label that is asked for, or else the one that nixpkgs gives."""
        return self.get(role, Tag.LABEL) or self.free(Tag.LABEL, _USUAL[role])

    def free(self, tag: Tag, usual: str) -> str:
        """The usual name of something, with a number added if something else claims that name."""
        taken = {name for (_, kind), name in self.asked.items() if kind is tag}
        numbered = (f"{usual}-{number}" for number in count(2))
        return next(name for name in chain([usual], numbered) if name not in taken)


@dataclass(frozen=True, slots=True)
class Claim:
    """A name that something must have, and who asks for it: the beginning of a sentence.

    `setting` is the user's, None where the system asks.
    """

    name: NamedDevice
    who: str
    setting: Setting | None = None


@dataclass(slots=True)
class Claims:
    """The names that are asked for, of which none contradicts another; gathers `problems`."""

    disk: TargetDisk
    taken: dict[tuple[Role, Tag], Claim] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, role: Role, name: NamedDevice, who: str, setting: Setting | None = None) -> None:
        """Ask for a name for the file system or the partition with a role; see `Claim`."""
        if fault := name_fault(self.disk, role, name):
            self.problems.append(Message(who, ", but ", fault))
            return
        claim = self.taken.setdefault((role, name.tag), Claim(name, who, setting))
        if claim.name != name:
            one = f": the {role.words} can have one {_WORDS[name.tag]} only"
            line = Message(who, ", but ", claim.who, one)
            if claim.setting is not None:
                line = Message(line, "; leave ", claim.setting, " out")
            self.problems.append(line)

    @property
    def names(self) -> DiskNames:
        """The names that are claimed."""
        return DiskNames({key: claim.name.value for key, claim in self.taken.items()})

    def copy(self) -> "Claims":
        """A copy without problems, to which more claims can be added on trial."""
        return Claims(self.disk, dict(self.taken))

    def clashes(self) -> Iterator[str]:
        """One line for each name that two things claim."""
        names = self.names
        values = [names.get(role, Tag.PARTUUID) for role in Role]
        if not self.disk.layout.table.is_gpt and len({one[:8] for one in values if one}) > 1:
            yield "the partition UUIDs that are asked for have two signatures: a disk has one"
        for tag in Tag:
            holders: dict[str, Role] = {}
            for role in self.disk.roles:
                value = names.get(role, tag)
                if value and (other := holders.setdefault(value, role)) is not role:
                    yield (
                        f"the {other.words} and the {role.words} would both have the {_WORDS[tag]} "
                        f"{value}: a machine could take one for the other"
                    )


def name_fault(disk: TargetDisk, role: Role, name: NamedDevice) -> str:
    """Why the file system or the partition with a role cannot have a name; empty if it can."""
    value = name.value
    if not value or not value.isprintable() or value != value.strip():
        # blkid(8), and so udev, takes spaces off both ends.
        return f"{value!r} is not a {_WORDS[name.tag]} that udev finds"
    if name.tag is Tag.LABEL:
        return disk.kind_of(role).label_fault(value)
    if name.tag is Tag.UUID:
        return _uuid_fault(disk, role, value)
    if not disk.layout.table.has_partitions:
        return f"a disk without a partition table has no {_WORDS[name.tag]}: name its label"
    if name.tag is Tag.PARTLABEL:
        return _partition_name_fault(disk.layout, value)
    return _partition_uuid_fault(disk, role, value)


def _uuid_fault(disk: TargetDisk, role: Role, value: str) -> str:
    form = _GUID if role is Role.ROOT else _SERIAL
    if form.fullmatch(value):
        return "" if value.strip("0-") else f"the UUID of the {role.words} {_ZEROS}"
    if role is Role.ROOT:
        return (
            f"the UUID of the {role.words} ({disk.kind.name}) is 32 hexadecimal digits in lower "
            "case, as in 4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
        )
    return f"the UUID of the {role.words} (FAT) is 8 digits in upper case, as in 12AB-CD34"


def _partition_name_fault(layout: Layout, value: str) -> str:
    if not layout.table.is_gpt:
        gpt = Setting("partition_table", Table.HYBRID)
        return Message("an MBR has no partition names: take a GPT, such as ", gpt)
    if len(value) > _NAME_UNITS or max(value) > "\uffff":
        return f"a partition name in a GPT has at most {_NAME_UNITS} characters, up to U+FFFF"
    return ""


def _partition_uuid_fault(disk: TargetDisk, role: Role, value: str) -> str:
    if disk.layout.table.is_gpt:
        if _GUID.fullmatch(value):
            return "" if value.strip("0-") else f"the partition UUID of the {role.words} {_ZEROS}"
        return "a partition UUID in a GPT is a GUID in lower case: 32 hexadecimal digits"
    partition = role.of(disk.layout)
    number = 0 if partition is None else partition.number
    found = _OF_MBR.fullmatch(value)
    if found and not int(found[1], 16):
        start = f"with which the partition UUID of the {role.words} begins"
        return f"the disk's signature, {start}, {_ZEROS}"
    if found and int(found[2], 16) == number:
        return ""
    return (
        f"with an MBR the partition UUID of the {role.words} is the disk's signature in 8 "
        f"hexadecimal digits in lower case and the partition's number, as in 12ab34cd-{number:02x}"
    )
