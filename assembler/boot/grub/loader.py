"""GRUB as a boot loader: for BIOS, for UEFI, or as a menu for a GRUB from outside."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, Self

from assembler.boot.boot_file import BootFile
from assembler.boot.bootspec import Bootspec
from assembler.boot.generation import Generation, read_generations
from assembler.boot.grub.bios import BiosCode
from assembler.boot.grub.config import GrubConfig, find_grub_config, read_grub_config
from assembler.boot.grub.files import InstalledGrub, grub_files
from assembler.boot.grub.find import find_grubs
from assembler.boot.grub.grub import (
    BIOS,
    PLATFORMS,
    Grub,
    Platform,
    grub_module_files,
    make_core_image,
    release_of,
)
from assembler.boot.grub.quoting import escaped_words
from assembler.boot.places import BOOT, Places
from assembler.boot.protocol import BootData, BootLoader, BootTarget
from assembler.boot.signed.chain import EfiPrograms, read_efi_programs
from assembler.boot.systemd_boot.extra_files import warn_of_commands
from assembler.boot.volumes import Role
from assembler.disk.tables import Table
from assembler.errors import Findings
from assembler.store.paths import Store

log = logging.getLogger(__name__)

_BUILDER = "install-grub.pl"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrubLoader(BootLoader):
    """GRUB, with its modules or with signed programs, and the menu of the system."""

    name: ClassVar[str] = "grub"
    installers: ClassVar[tuple[str, ...]] = ("install-grub.sh", _BUILDER)
    is_made_here: ClassVar[bool] = True
    takes_efi_programs: ClassVar[bool] = True
    names_its_partition: ClassVar[bool] = False

    store: Store
    system: str  # the toplevel that the first entry boots
    generations: Sequence[Generation]
    config: GrubConfig
    grubs: Mapping[Platform, Grub]
    signed: EfiPrograms | None  # EFI programs that are used as they are

    @classmethod
    def disk_problems(cls, _table: Table, _sector_size: int) -> list[str]:
        """None: a disk without a partition table has a menu for a GRUB from outside."""
        return []

    @classmethod
    def find(cls, target: BootTarget) -> Self:
        """Find GRUB or signed programs, the settings of the menu and the generations in it."""
        machine, found = target.machine, Findings()
        if target.installer.loader == cls.name:
            warn_of_commands(target.store, cls.name, target.installer.program, _BUILDER)
        generations: Sequence[Generation] = ()
        with found.gather():
            generations = read_generations(
                target.store, target.generations, target.epoch, needed=target.system
            )
        _warn(generations)
        config = GrubConfig()
        with found.gather():
            file = find_grub_config(target.store, target.infos, target.system)
            if file is not None:
                config = read_grub_config(target.store, file, target.image)
        signed = None
        # If an EFI program of the user is bad, do not also complain about missing GRUB modules.
        without = {*PLATFORMS} if target.efi_binaries else set()
        with found.gather():
            signed = read_efi_programs(target.efi_binaries) if target.efi_binaries else None
            chains = () if signed is None else signed.chains
            without = {Platform(chain.machine) for chain in chains}
        places = [*_named_grubs(target.store, config), *sorted(target.programs)]
        main = Platform(machine)
        grubs = find_grubs(
            target.store, places, found, table=target.table, main=main, without=without
        )
        found.raise_any()
        return cls(
            store=target.store,
            system=target.system,
            generations=generations,
            config=config,
            grubs=grubs,
            signed=signed,
        )

    @property
    def version(self) -> str:
        """The release of GRUB, empty if only signed programs are used that do not contain it.

        Raises RequestError if it is not beside the modules.
        """
        if self.grubs:
            return release_of(next(iter(self.grubs.values())))
        return "" if self.signed is None else self.signed.version

    @property
    def installed(self) -> InstalledGrub:
        """Which GRUB the disk starts; raises RequestError as `version`."""
        paths = {platform: grub.store_path or "" for platform, grub in self.grubs.items()}
        efi = {path for platform, path in paths.items() if platform.is_efi}
        if self.config.grub_efi in efi:
            efi = {self.config.grub_efi}
        elif self.signed is not None:
            efi.add("")
        return InstalledGrub(
            name=self.name,
            version=self.version,
            bios=paths.get(BIOS),
            efi=min(efi, default=None),
        )

    def make(self, places: Places) -> BootData:
        """Build the core images, and write the menu.

        Raises RequestError where GRUB lacks a module or a file system the label that the menu
        needs, HostError for what cannot be read.
        """
        with ThreadPoolExecutor() as pool:  # grub-mkimage works in processes of its own
            made = pool.map(lambda grub: _core_image(grub, places), self.grubs.values())
            cores = dict(zip(self.grubs, made, strict=True))
        own = {file.path: file for file in self._boot_files(places, cores)}
        esp = {file.path: file for file in self._esp_files(places, cores)}
        code = None
        if BIOS in cores:
            code = BiosCode(self.grubs[BIOS].boot_img, cores[BIOS])
        match places.boot.role:
            case Role.ROOT:
                root = [file.below(BOOT.lstrip("/")) for file in own.values()]
                files = {Role.ROOT: root, Role.ESP: [*esp.values()]}
            case Role.ESP:
                files = {Role.ESP: [*{**own, **esp}.values()]}
            case Role.BOOT:
                files = {Role.BOOT: [*own.values()], Role.ESP: [*esp.values()]}
        return BootData(files, code)

    def problems(self, _data: BootData, places: Places) -> list[str]:
        """Which signed GRUBs cannot read the menu."""
        return [] if self.signed is None else self.signed.problems(places.boot_kind)

    def _boot_files(self, places: Places, cores: Mapping[Platform, bytes]) -> list[BootFile]:
        """The files below /boot."""
        files = grub_files(
            self.store,
            self.config,
            self.generations,
            self.system,
            places,
            installed=self.installed,
        )
        for platform, core in cores.items():
            files += grub_module_files(self.grubs[platform])
            # As grub-install leaves them; check-image compares them with what is started.
            files.append(BootFile(f"grub/{platform}/{platform.core_name}", core))
        return files

    def _esp_files(self, places: Places, cores: Mapping[Platform, bytes]) -> list[BootFile]:
        """The files that firmware starts; a later one replaces an earlier one of the same path."""
        files = [
            BootFile(platform.machine.boot_program, core)
            for platform, core in cores.items()
            if platform.machine is not None
        ]
        if self.signed is not None:
            files += self.signed.files(places.boot.uuid, f"{places.boot_path}/grub")
        return files


def _core_image(grub: Grub, places: Places) -> bytes:
    prefix = f"{places.boot_path}/grub"
    return make_core_image(grub, places.boot.uuid, places.boot_kind.grub_module, prefix)


def _named_grubs(store: Store, config: GrubConfig) -> list[str]:
    """The GRUBs that the system's settings name; warns of those that its closure lacks."""
    named = [*dict.fromkeys(filter(None, (config.grub, config.grub_efi)))]
    present = [path for path in named if store.contains(path)]
    for path in named:
        if path not in present:
            log.warning("%s is not in the closure: the first rebuild installs that GRUB", path)
    return present


def _warn(generations: Sequence[Generation]) -> None:
    """Warn of what NixOS's GRUB does not list, load or pass to the kernel as it is."""
    for one in generations:
        if not one.version:
            log.warning("generation %d is not in GRUB's menu: no nixos-version", one.number)
        for spec in _specs(one):
            for what in filter(None, (spec.devicetree, *spec.extra_initrds)):
                log.warning(
                    "generation %d: NixOS's GRUB does not load %s, nor is it loaded here",
                    one.number,
                    what,
                )
    specs = [spec for one in generations for spec in _specs(one)]
    words = [*dict.fromkeys(word for spec in specs for word in escaped_words(spec.kernel_params))]
    if words:
        log.warning(
            "the kernel parameter %s%s reaches the kernel with a backslash before each quote and "
            "backslash, which GRUB writes there: close its quotes, or leave them out",
            words[0],
            f" (and {len(words) - 1} more)" if len(words) > 1 else "",
        )


def _specs(generation: Generation) -> list[Bootspec]:
    """What the entries of a generation boot: its system and the specialisations."""
    own = generation.bootspec
    return [own, *(inner for _, inner in own.specialisations)]
