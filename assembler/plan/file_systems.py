"""The file systems of a disk by what they are for: their names, and where /boot is."""

from collections.abc import Mapping
from functools import partial
from uuid import UUID

from assembler.boot.mounts.boot_mounts import BootMounts
from assembler.boot.mounts.devices import Tag
from assembler.boot.mounts.disk_names import DiskNames
from assembler.boot.places import BOOT, Places
from assembler.boot.protocol import BootData
from assembler.boot.volumes import Role, Volume
from assembler.disk.layout import Layout, shape
from assembler.filesystems.fat.fat import Fat, fat_uuid
from assembler.filesystems.fat.kind import FAT
from assembler.filesystems.subvolumes import path_from_top, subvolume_of
from assembler.plan.identity import Identity
from assembler.spec import Spec
from assembler.store.paths import STORE


def make_volumes(
    spec: Spec, names: DiskNames, mounts: BootMounts, identity: Identity
) -> dict[Role, Volume]:
    """The file systems of the disk, named as it was asked for, or else from its identity."""
    places = {
        Role.ROOT: "/",
        Role.ESP: "" if mounts.esp is None else mounts.esp.place,
        Role.BOOT: "" if mounts.boot is None else mounts.boot.place,
    }
    layout = shape(spec.table)
    return {
        role: Volume(role, _uuid(role, names, identity), names.label(role), places[role])
        for role in Role
        if role.of(layout) is not None
    }


def _uuid(role: Role, names: DiskNames, identity: Identity) -> str:
    asked = names.get(role, Tag.UUID)
    if asked is not None:
        return asked
    if role is Role.ROOT:
        return str(identity.uuid(role.identity_key))
    return fat_uuid(identity.serial(role.identity_key))


def boot_places(spec: Spec, volumes: Mapping[Role, Volume], mounts: BootMounts) -> Places:
    """Where /boot and the store are."""
    root = volumes[Role.ROOT]
    find = partial(path_from_top, subvolumes=spec.subvolumes)
    boot = volumes.get(Role.BOOT) or (volumes[Role.ESP] if mounts.boot_is_esp else None)
    if boot is not None:
        return Places(boot, "", root, find, separate=True, boot_kind=FAT)
    separate = subvolume_of(BOOT, spec.subvolumes) != subvolume_of(STORE, spec.subvolumes)
    return Places(root, find(BOOT), root, find, separate=separate, boot_kind=spec.kind)


def make_fats(
    layout: Layout, data: BootData, volumes: Mapping[Role, Volume], epoch: int
) -> list[Fat]:
    """The FAT file systems of a disk, with the files that belong there."""
    return [
        Fat(
            offset=partition.start,
            size=partition.size,
            files={file.path: file.source for file in data.of(role)},
            volume_id=volume.serial,
            label=volume.label,
            epoch=epoch,
            sector_size=layout.sector_size,
            what=role.words,
        )
        for role, volume in volumes.items()
        if role is not Role.ROOT and (partition := role.of(layout)) is not None
    ]


def name_partitions(layout: Layout, names: DiskNames, spec: Spec) -> Layout:
    """The disk with the names and GUIDs that are asked for."""
    numbers = {
        role: partition.number for role in Role if (partition := role.of(layout)) is not None
    }

    def asked(tag: Tag) -> dict[int, str]:
        found = {number: names.get(role, tag) for role, number in numbers.items()}
        return {number: name for number, name in found.items() if name is not None}

    unique = asked(Tag.PARTUUID)
    if layout.table.is_gpt:
        usual = {one.number: names.free(Tag.PARTLABEL, one.name) for one in layout.partitions}
        guids = {number: UUID(value) for number, value in unique.items()}
        return layout.with_names(
            {**usual, **asked(Tag.PARTLABEL)},
            {**guids, **dict(spec.partition_guids)},
            disk_guid=spec.disk_guid,
        )
    signatures = [int(value.split("-")[0], 16) for value in unique.values()]
    return layout.with_names({}, {}, signature=next(iter(signatures), None))
