"""What the boot loader adds to an image: files of the root and of FATs, and boot code."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from assembler.boot.boot_files import BootFile, grub_files
from assembler.boot.fstab import Mount
from assembler.boot.grub import Platform, grub_module_files
from assembler.boot.loader import Loader
from assembler.boot.places import FileSystem, Places
from assembler.boot.subvolumes import locate, subvolume_of
from assembler.boot.systemd_boot import systemd_boot_files
from assembler.disk.layout import Layout, PartitionType, Table
from assembler.identity import Identity
from assembler.root.build import boot_file
from assembler.root.skeleton import current_generation
from assembler.root.tree import Node
from assembler.spec import Spec
from assembler.store.paths import STORE, Store
from assembler.writers.fat import Fat, Source, fat_uuid

log = logging.getLogger(__name__)

_BOOT = "/boot"
_ESP = "EFI system partition"
_XBOOTLDR = "boot partition"


@dataclass(frozen=True, slots=True)
class Booting:
    """All that the boot loader needs on the disk."""

    root: Mapping[str, Node] = field(default_factory=dict)  # by their paths in the root
    esp: Mapping[str, Source] = field(default_factory=dict)  # by their paths in the partition
    xbootldr: Mapping[str, Source] = field(default_factory=dict)
    bios: tuple[bytes, bytes] | None = None  # GRUB's boot.img and core image


def boot_places(spec: Spec, loader: Loader, identity: Identity) -> tuple[Places, str]:
    """Where /boot and the store will be, and what kind of file system has /boot."""
    root = FileSystem(str(identity.uuid("root file system")), spec.label)
    find = partial(locate, subvolumes=spec.subvolumes)
    own = _own_partition(spec, loader)
    if own is not None:
        boot = FileSystem(fat_uuid(_volume_id(own, loader, identity)), _label(own, loader))
        return Places(boot, "", root, find, separate=True), "vfat"
    separate = subvolume_of(_BOOT, spec.subvolumes) != subvolume_of(STORE, spec.subvolumes)
    return Places(root, find(_BOOT), root, find, separate=separate), spec.file_system


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
    layout: Layout, booting: Booting, loader: Loader, spec: Spec, identity: Identity
) -> list[Fat]:
    """The FAT file systems of a disk, with what the boot loader has in them."""
    made = []
    for what, partition, files in (
        (_ESP, layout.esp, booting.esp),
        (_XBOOTLDR, layout.xbootldr, booting.xbootldr),
    ):
        if partition is not None:
            made.append(
                Fat(
                    offset=partition.start,
                    size=partition.size,
                    files=files,
                    volume_id=_volume_id(what, loader, identity),
                    label=_label(what, loader),
                    epoch=spec.root.epoch,
                    sector_size=layout.sector_size,
                    what=what,
                )
            )
    return made


def mounted(layout: Layout, loader: Loader) -> list[tuple[str, int]]:
    """Where the system mounts which partition (its number) of those that firmware reads."""
    pairs = ((loader.mounts.esp, layout.esp), (loader.mounts.xbootldr, layout.xbootldr))
    return [
        (mount.place, partition.number)
        for mount, partition in pairs
        if mount is not None and partition is not None
    ]


def partition_names(loader: Loader) -> dict[PartitionType, str]:
    """The names of partitions by which the system mounts them."""
    names = {}
    for kind, what in ((PartitionType.ESP, _ESP), (PartitionType.XBOOTLDR, _XBOOTLDR)):
        mount = _mount(what, loader)
        if mount is not None and mount.partition_name is not None:
            names[kind] = mount.partition_name
    return names


def warn_of_mounts(loader: Loader) -> None:
    """Tell of mounts by names that no disk of this tool's has."""
    for what in (_ESP, _XBOOTLDR):
        mount = _mount(what, loader)
        if mount is not None and mount.is_foreign:
            log.warning(
                "the system mounts %s from %s, which is not on this disk: name the %s by a label "
                "of at most 11 letters and digits, as in /dev/disk/by-label/%s",
                mount.place,
                mount.device,
                what,
                _label(what, loader),
            )


def _own_partition(spec: Spec, loader: Loader) -> str | None:
    """The name of the partition that is /boot, None where that is a directory of the root."""
    if spec.partition_table.has_boot_partition:
        return _XBOOTLDR
    return _ESP if loader.mounts.boot_is_esp else None


def _label(what: str, loader: Loader) -> str:
    """The label of a FAT: the one by which the system mounts it, else as nixpkgs has it."""
    mount = _mount(what, loader)
    usual = {_ESP: "ESP", _XBOOTLDR: "BOOT"}[what]
    return usual if mount is None or mount.label is None else mount.label


def _volume_id(what: str, loader: Loader, identity: Identity) -> int:
    """The serial number of a FAT: the one by which the system mounts it, else one of our own."""
    mount = _mount(what, loader)
    known = None if mount is None else mount.volume_id
    return identity.serial(what) if known is None else known


def _mount(what: str, loader: Loader) -> Mount | None:
    return {_ESP: loader.mounts.esp, _XBOOTLDR: loader.mounts.xbootldr}[what]


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
    if loader.signed is not None:
        esp |= loader.signed.files(places.boot.uuid, f"{places.boot_path}/grub")
    bios = None
    if Platform.BIOS in cores:
        bios = loader.grubs[Platform.BIOS].boot_img, cores[Platform.BIOS]
        # As grub-install leaves it; check-image compares with it what the boot sector loads.
        boot[f"grub/{Platform.BIOS}/core.img"] = cores[Platform.BIOS], 0o644
    own = {name: source for name, (source, _) in boot.items()}
    match _own_partition(spec, loader):
        case str(what) if what == _XBOOTLDR:
            return Booting(esp=esp, xbootldr=own, bios=bios)
        case str():
            return Booting(esp={**own, **esp}, bios=bios)
    root = {
        f"{_BOOT}/{name}": boot_file(source, mode, spec.root.epoch)
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
