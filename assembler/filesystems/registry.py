"""The kinds of file systems that there are. A new one gets a line here."""

from collections.abc import Mapping, Sequence

from assembler.errors import Message, Setting
from assembler.filesystems.btrfs import BTRFS
from assembler.filesystems.ext4.kind import EXT4
from assembler.filesystems.f2fs import F2FS
from assembler.filesystems.fat.kind import FAT
from assembler.filesystems.kind import Kind, RootKind
from assembler.filesystems.protocol import Subvolume
from assembler.filesystems.xfs import XFS

ROOT_KINDS: Mapping[str, RootKind] = {
    kind.name: kind
    for kind in (
        EXT4,
        BTRFS,
        XFS,
        F2FS,
    )
}
KINDS: tuple[Kind, ...] = (*ROOT_KINDS.values(), FAT)
WITH_SUBVOLUMES = tuple(kind.name for kind in ROOT_KINDS.values() if kind.has_subvolumes)
DEFAULT = EXT4  # what the root file system is unless the user asks for another


def use_problems(kind: RootKind, writer: str, subvolumes: Sequence[Subvolume]) -> list[str]:
    """One line for each part of a request that another kind could meet, and this one cannot."""
    lines = list[str]()
    if writer == "direct" and kind.direct is None:
        names = [one.name for one in ROOT_KINDS.values() if one.direct is not None]
        direct, guestfs = Setting("writer", "direct"), Setting("writer", "guestfs")
        makes = f" makes {', '.join(names)} only: take "
        lines.append(Message(direct, makes, guestfs, f" for {kind.name}"))
    if subvolumes and not kind.has_subvolumes:
        able = Setting("file_system", " or ".join(WITH_SUBVOLUMES))
        lines.append(Message(Setting("subvolumes"), " is for ", able, f", not {kind.name}"))
    return lines


def root_kind_problems(name: str) -> list[str]:
    """One line if there is no kind of root file system with a name."""
    if name in ROOT_KINDS:
        return []
    direct = [one.name for one in ROOT_KINDS.values() if one.direct is not None]
    others = [one.name for one in ROOT_KINDS.values() if one.direct is None]
    there = f" cannot be made: there are {', '.join(direct)}, and with "
    guestfs = Setting("writer", "guestfs")
    return [Message(Setting("file_system", name), there, guestfs, f" {', '.join(others)}")]
