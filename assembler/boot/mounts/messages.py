"""The messages for mounts that do not fit the disk: each names the remedies."""

from assembler.boot.mounts.disk_names import TargetDisk
from assembler.boot.mounts.fstab import Mount
from assembler.boot.places import BOOT
from assembler.boot.volumes import Role
from assembler.disk.layout import Partition
from assembler.disk.tables import FOR_BOOT, FOR_EFI, Table
from assembler.errors import Message, Setting
from assembler.filesystems.registry import ROOT_KINDS, WITH_SUBVOLUMES


def fault_of(mount: Mount, *why: str | Setting) -> Message:
    """The line for a mount; `why` is what follows "but"."""
    return Message(f"{mount}, but ", *why)


def unmounted_boot_partition(place: str) -> str:
    """The system does not mount the partition for kernels."""
    return (
        f"the system does not mount the {Role.BOOT.words} at {place}: no boot loader reads what a "
        "rebuild writes there"
    )


def no_such_partition(mount: Mount) -> Message:
    """The device is on this disk by its name, but not by its number."""
    return fault_of(mount, f"this disk has no such partition: {_leave(mount)}, or add nofail")


def unseen_subvolume(name: str, place: str) -> Message:
    """A subvolume is made, and the system does not mount it."""
    made = Setting("subvolumes", f"{name}={place}")
    option = f' out, or give fileSystems."{place}" the option subvol={name}'
    start = f"the system does not mount the subvolume {name} at {place}: leave "
    return Message(start, made, option)


def store_elsewhere(mount: Mount) -> Message:
    """The store is mounted from elsewhere than the root file system."""
    why = f"this disk has {mount.place} in its root file system: leave it out of fileSystems"
    name = mount.subvolume
    if not mount.may_be(*WITH_SUBVOLUMES) or not mount.is_on_disk or "/" in (name or "/"):
        return fault_of(mount, why)
    kind = Setting("file_system", " or ".join(WITH_SUBVOLUMES))
    subvolume = Setting("subvolumes", f"{name}={mount.place}")
    return fault_of(mount, f"{why}, or take ", kind, " ", subvolume)


def no_fat_for_boot(mount: Mount, table: Table) -> Message:
    """/boot is mounted, and is neither a FAT of this disk nor a directory of the root."""
    if mount.is_bind or not mount.is_fat:
        why = "/boot of this disk can be a FAT or a directory of the root: make it vfat, or "
        return fault_of(mount, why, _leave(mount))
    here = Setting("partition_table", table)
    take = Setting("partition_table", FOR_BOOT)
    return fault_of(mount, "there is no FAT for it with ", here, ": take ", take, _or_leave(mount))


def no_esp(mount: Mount, table: Table) -> Message:
    """An EFI system partition is mounted, and the table has none."""
    here = Setting("partition_table", table)
    take = Setting("partition_table", FOR_EFI)
    why = "there is no EFI system partition with "
    return fault_of(mount, why, here, ": take ", take, _or_leave(mount))


def esp_is_boot(mount: Mount, table: Table) -> Message:
    """Two FATs are mounted, and the table has only the one that is /boot."""
    here = Setting("partition_table", table)
    take = Setting("partition_table", Table.EFIXBOOTLDR)
    return fault_of(mount, f"{BOOT} is the only FAT with ", here, ": take ", take, _or_leave(mount))


def not_on_disk(mount: Mount, advice: str) -> Message:
    """A partition of the disk is mounted from what is on no disk."""
    what = "a bind mount" if mount.is_bind else "/".join(mount.kinds)
    return fault_of(mount, f"{what} is not on this disk: {advice}")


def other_kind(mount: Mount, role: Role, disk: TargetDisk) -> Message:
    """A partition of the disk is mounted as another type of file system."""
    kind = disk.kind_of(role).name
    why = f"as {'/'.join(mount.kinds)}: the {role.words} of this disk is {kind}; "
    if role is Role.ROOT and mount.kinds[0] in ROOT_KINDS:
        return fault_of(mount, why, "take ", Setting("file_system", mount.kinds[0]))
    return fault_of(mount, f'{why}give fileSystems."{mount.place}" the fsType {kind}')


def other_number(role: Role, partition: Partition | None) -> str:
    """A partition is mounted by the number of another one: the middle of a line."""
    where = "nowhere"
    if partition is not None:
        where = f"partition {partition.number}" if partition.number else "the whole disk"
    return f"the {role.words} of this disk is {where}"


def no_subvolumes(mount: Mount) -> Message:
    """A subvolume is mounted from a file system that has none."""
    kinds = " or ".join(WITH_SUBVOLUMES)
    why = f"subvol={mount.subvolume} is for {kinds}: take "
    return fault_of(mount, why, Setting("file_system", kinds))


def other_subvolume(mount: Mount, made: str) -> Message:
    """A place shows another subvolume than the one that is made for it."""
    found = mount.subvolume or "the top level"
    why = (
        f" puts {mount.place} into {made}, and not {found}: give "
        f'fileSystems."{mount.place}" the option subvol={made}'
    )
    return fault_of(mount, Setting("subvolumes"), why)


def absent_subvolume(mount: Mount) -> Message:
    """A place shows a subvolume that is not made."""
    name = mount.subvolume or ""
    if "/" in name:
        why = "subvolumes are not made inside others: take a name without a slash"
        return fault_of(mount, why)
    take = Setting("subvolumes", f"{name}={mount.place}")
    return fault_of(mount, f"there is no subvolume {name}: take ", take)


def _leave(mount: Mount) -> str:
    return f'leave fileSystems."{mount.place}" out'


def _or_leave(mount: Mount) -> str:
    return f", or {_leave(mount)}"
