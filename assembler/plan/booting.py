"""What the boot loader adds to an image: files of the root and of FATs, and boot code."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from assembler.boot.grub.files import BootFile, grub_files
from assembler.boot.grub.grub import Platform, grub_module_files
from assembler.boot.loader import Loader
from assembler.boot.mounts.devices import Tag
from assembler.boot.mounts.names import Names, Role
from assembler.boot.places import BOOT, FileSystem, Places
from assembler.boot.subvolumes import locate, subvolume_of
from assembler.boot.systemd_boot.entries import systemd_boot_files
from assembler.disk.layout import Layout, Table
from assembler.filesystems.fat.fat import Fat, Source, fat_uuid
from assembler.plan.identity import Identity
from assembler.root.build import boot_file
from assembler.root.skeleton import current_generation
from assembler.spec import Spec
from assembler.store.paths import STORE, Store
from assembler.tree.tree import Node


@dataclass(frozen=True, slots=True)
class Booting:
    """All that the boot loader needs on the disk."""

    root: Mapping[str, Node] = field(default_factory=dict)  # by their paths in the root
    esp: Mapping[str, Source] = field(default_factory=dict)  # by their paths in the partition
    xbootldr: Mapping[str, Source] = field(default_factory=dict)
    bios: tuple[bytes, bytes] | None = None  # GRUB's boot.img and core image


def boot_places(spec: Spec, loader: Loader, names: Names, identity: Identity) -> tuple[Places, str]:
    """Where /boot and the store will be, and what kind of file system has /boot."""
    root = FileSystem(str(root_uuid(names, identity)), names.label(Role.ROOT))
    find = partial(locate, subvolumes=spec.subvolumes)
    own = _own_partition(spec, loader)
    if own is not None:
        boot = FileSystem(fat_uuid(_volume_id(own, names, identity)), names.label(own))
        return Places(boot, "", root, find, separate=True), "vfat"
    separate = subvolume_of(BOOT, spec.subvolumes) != subvolume_of(STORE, spec.subvolumes)
    return Places(root, find(BOOT), root, find, separate=separate), spec.file_system


def arrange(
    loader: Loader, spec: Spec, places: Places, cores: Mapping[Platform, bytes], store: Store
) -> Booting:
    """All files of a boot loader, where they belong; `cores` are GRUB's core images.

    Raises HostError for what cannot be read.
    """
    match loader.name:
        case "grub":
            return _grub(loader, spec, places, cores, store)
        case "systemd-boot":
            return _systemd_boot(loader, spec, store)
    return Booting()


def fats(
    layout: Layout, booting: Booting, names: Names, spec: Spec, identity: Identity
) -> list[Fat]:
    """The FAT file systems of a disk, with what the boot loader has in them."""
    made = []
    for what, partition, files in (
        (Role.ESP, layout.esp, booting.esp),
        (Role.BOOT, layout.xbootldr, booting.xbootldr),
    ):
        if partition is not None:
            made.append(
                Fat(
                    offset=partition.start,
                    size=partition.size,
                    files=files,
                    volume_id=_volume_id(what, names, identity),
                    label=names.label(what),
                    epoch=spec.root.epoch,
                    sector_size=layout.sector_size,
                    what=what,
                )
            )
    return made


def mounted(layout: Layout, loader: Loader) -> list[tuple[str, int]]:
    """Where the system mounts which partition (its number) of those that firmware reads."""
    pairs = ((loader.mounts.esp, layout.esp), (loader.mounts.boot, layout.xbootldr))
    return [
        (mount.place, partition.number)
        for mount, partition in pairs
        if mount is not None and partition is not None
    ]


def name_partitions(layout: Layout, names: Names, disk_guid: UUID | None) -> Layout:
    """The disk with the names and GUIDs that are asked for."""
    numbers = {
        role: partition.number
        for role, partition in (
            (Role.ROOT, layout.root),
            (Role.ESP, layout.esp),
            (Role.BOOT, layout.xbootldr),
        )
        if partition is not None
    }

    def given(tag: Tag) -> dict[int, str]:
        found = {number: names.get(role, tag) for role, number in numbers.items()}
        return {number: name for number, name in found.items() if name is not None}

    unique = given(Tag.PARTUUID)
    if layout.table.is_gpt:
        usual = {one.number: names.free(Tag.PARTLABEL, one.name) for one in layout.partitions}
        guids = {number: UUID(value) for number, value in unique.items()}
        return layout.with_names({**usual, **given(Tag.PARTLABEL)}, guids, disk_guid=disk_guid)
    signatures = [int(value.split("-")[0], 16) for value in unique.values()]
    return layout.with_names({}, {}, signature=next(iter(signatures), None))


def root_uuid(names: Names, identity: Identity) -> UUID:
    """The UUID of the root file system: the one that is asked for, else one of our own."""
    asked = names.get(Role.ROOT, Tag.UUID)
    return identity.uuid(Role.ROOT) if asked is None else UUID(asked)


def _own_partition(spec: Spec, loader: Loader) -> Role | None:
    """What is the partition that is /boot, None where that is a directory of the root."""
    if spec.partition_table.has_boot_partition:
        return Role.BOOT
    return Role.ESP if loader.mounts.boot_is_esp else None


def _volume_id(role: Role, names: Names, identity: Identity) -> int:
    """The serial number of a FAT: the one that is asked for, else one of our own."""
    asked = names.get(role, Tag.UUID)
    return identity.serial(role) if asked is None else int(asked.replace("-", ""), 16)


def _grub(
    loader: Loader, spec: Spec, places: Places, cores: Mapping[Platform, bytes], store: Store
) -> Booting:
    files = grub_files(
        loader.config, loader.generations, spec.root.system, places, loader.installed
    )
    boot = {file.path: (_source(file, store), file.mode) for file in files}
    for grub in loader.grubs.values():
        boot |= {f"grub/{name}": (file, 0o644) for name, file in grub_module_files(grub)}
    esp: dict[str, Source] = {
        platform.removable_path: core for platform, core in cores.items() if platform.is_efi
    }
    # As grub-install leaves them; check-image compares them with what is started.
    boot |= {f"grub/{one}/core.efi": (core, 0o644) for one, core in cores.items() if one.is_efi}
    if loader.signed is not None:
        esp |= loader.signed.files(places.boot.uuid, f"{places.boot_path}/grub")
    bios = None
    if Platform.BIOS in cores:
        bios = loader.grubs[Platform.BIOS].boot_img, cores[Platform.BIOS]
        boot[f"grub/{Platform.BIOS}/core.img"] = cores[Platform.BIOS], 0o644
    own = {name: source for name, (source, _) in boot.items()}
    match _own_partition(spec, loader):
        case Role.BOOT:
            return Booting(esp=esp, xbootldr=own, bios=bios)
        case Role.ESP:
            return Booting(esp={**own, **esp}, bios=bios)
    root = {
        f"{BOOT}/{name}": boot_file(source, mode, spec.root.epoch)
        for name, (source, mode) in boot.items()
    }
    return Booting(root=root, esp=esp, bios=bios)


def _systemd_boot(loader: Loader, spec: Spec, store: Store) -> Booting:
    number = current_generation(spec.root.system, spec.root.generations)
    files = systemd_boot_files(loader.generations, number, loader.systemd_boot)
    esp: dict[str, Source] = {**loader.programs, **_sources(files.esp, store)}
    kernels = _sources(files.xbootldr, store)
    if spec.partition_table is Table.EFIXBOOTLDR:
        return Booting(esp=esp, xbootldr=kernels)
    return Booting(esp={**esp, **kernels})


def _sources(files: Iterable[BootFile], store: Store) -> dict[str, Source]:
    return {file.path: _source(file, store) for file in files}


def _source(file: BootFile, store: Store) -> Source:
    """What a file holds, or where on this host it is copied from."""
    return file.source if isinstance(file.source, bytes) else store.host(file.source)
