"""How fstab(5) and the kernel parameter `root=` name a device.

Sources: fstab(5); udev's rules 60-persistent-storage.rules for the links below /dev/disk, and
systemd's src/shared/device-nodes.c for the characters that these keep; src/shared/fstab-util.c,
which makes such a link of a tag as it is written: upper and lower case differ.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Tag(StrEnum):
    """What a file system or a partition can be named by; the values are udev's directories."""

    LABEL = "label"
    UUID = "uuid"
    PARTLABEL = "partlabel"
    PARTUUID = "partuuid"


@dataclass(frozen=True, slots=True)
class NamedDevice:
    """A device with a name that is written on the disk: any disk can have it."""

    tag: Tag
    value: str


@dataclass(frozen=True, slots=True)
class NumberedPartition:
    """A partition by its number on a disk, which the machine calls `disk`; 0 is the whole disk."""

    disk: str
    number: int

    @property
    def is_of_kernel(self) -> bool:
        """Whether it is the kernel's own name: a disk has one of these at a time."""
        return "/" not in self.disk

    @property
    def is_of_hardware(self) -> bool:
        """Whether the name has the model and number of a disk, or where it is plugged in."""
        return not self.is_of_kernel and not self.disk.startswith(("disk/azure/", "disk/cloud/"))


@dataclass(frozen=True, slots=True)
class ForeignDevice:
    """Anything else: what it is, in words."""

    what: str


Device = NamedDevice | NumberedPartition | ForeignDevice

_TAG = re.compile(r"(LABEL|UUID|PARTLABEL|PARTUUID)=(.*)", re.DOTALL)
_LINK = re.compile(r"/dev/disk/by-(label|uuid|partlabel|partuuid)/(.*)", re.DOTALL)
_NODE = re.compile(
    r"/dev/(?:((?:sd|hd|vd|xvd)[a-z]{1,3})|((?:nvme[0-9]+n|mmcblk|nbd)[0-9]+)(?=p|$))"
    r"(?:p?(?<=[a-z])([1-9][0-9]{0,3}))?"
)
# Names of disks that this one can have on some machine; what device mapper and RAID make is none.
_MACHINE = re.compile(
    r"(?:ID=|/dev/disk/(?=(?:by-id|by-path|by-diskseq|azure|cloud)/))(?!(?:by-id/)?(?:dm|md|lvm)-)"
    r"(.+?)(?:-part([1-9][0-9]{0,3}))?"
)
_LAYERS = re.compile(r"/dev/(?:mapper/|dm-|md|disk/by-id/(?:dm|md|lvm)-)|ID=(?:dm|md|lvm)-")
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
_KEPT = re.compile(r"[0-9A-Za-z#+.:=@_-]|[^\x00-\x7f\ud800-\udfff]")


def parse_device(text: str) -> Device:
    """What a device is named by, as it is written but without fstab's own escapes."""
    if found := _TAG.fullmatch(text):
        return NamedDevice(Tag[found[1]], _unquote(found[2]))
    if found := _LINK.fullmatch(text):
        return _linked(Tag(found[1]), found[2])
    if found := _NODE.fullmatch(text):
        return NumberedPartition(found[1] or found[2], int(found[3] or 0))
    if not _LAYERS.match(text) and (found := _MACHINE.fullmatch(text)):
        return NumberedPartition(f"disk/{found[1]}", int(found[2] or 0))
    layers = "made of other devices (LUKS, LVM or RAID)"
    return ForeignDevice(layers if _LAYERS.match(text) else "no partition")


def _linked(tag: Tag, link: str) -> Device:
    """What udev's link `link` in the directory of a tag leads to."""
    value = udev_decode(link)
    if udev_encode(value) != link:
        right = f"/dev/disk/by-{tag}/{udev_encode(link)}"
        return ForeignDevice(f"a link that udev does not make, which writes {right}")
    return NamedDevice(tag, value)


def udev_encode(value: str) -> str:
    """A label or name as udev writes it in a link: a space is \\x20."""

    def code(character: str) -> str:
        if _KEPT.fullmatch(character):
            return character
        return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))

    return "".join(map(code, value))


def udev_decode(link: str) -> str:
    """What udev has written as `link`."""
    raw = link.encode(errors="surrogateescape")
    whole = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), raw)
    return whole.decode(errors="surrogateescape")


def _unquote(value: str) -> str:
    """Without a pair of quotes around it, as systemd and mount(8) read it."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
