"""The boot loader that is asked for, with all that it needs looked up."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from assembler.binaries.machine import SYSTEMS, Machine
from assembler.boot.bootspec import Bootspec
from assembler.boot.generation import Generation, read_generations
from assembler.boot.grub.config import GrubConfig, Image, find_grub_config, read_grub_config
from assembler.boot.grub.files import InstalledGrub
from assembler.boot.grub.grub import (
    Grub,
    Platform,
    find_further,
    find_grub,
    version,
)
from assembler.boot.grub.words import escaped_words
from assembler.boot.mounts.boot_mounts import BootMounts, boot_mounts
from assembler.boot.mounts.fstab import read_mounts
from assembler.boot.signed.chain import EspFiles, Signed, given
from assembler.boot.systemd_boot.entries import stub_problems
from assembler.boot.systemd_boot.program import find_systemd_boot, systemd_boot_programs
from assembler.boot.systemd_boot.settings import SystemdBootSettings
from assembler.disk.layout import Table, shape
from assembler.errors import Findings, RequestError
from assembler.store.paths import Store
from assembler.store.registration import PathInfo

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of a boot loader."""

    loader: str  # grub, systemd-boot, system or none
    table: Table
    system: str  # the toplevel that is booted
    architecture: str  # its platform, as Nix calls it
    generations: Sequence[tuple[int, str]]  # of the system profile: numbers and toplevels
    epoch: int  # seconds: the time of the profile's links
    efi_binaries: Sequence[Path] = ()
    image: Image = lambda _path: None  # what a path outside the store will hold
    systemd_boot: SystemdBootSettings = field(default_factory=SystemdBootSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """A boot loader with what it is made of; which parts there are depends on its name."""

    name: str
    mounts: BootMounts
    generations: Sequence[Generation] = ()
    config: GrubConfig = field(default_factory=GrubConfig)
    grubs: Mapping[Platform, Grub] = field(default_factory=dict)
    signed: Signed | None = None  # EFI programs that are used as they are
    programs: EspFiles = field(default_factory=dict)  # systemd-boot, by its paths on the ESP
    systemd_boot: SystemdBootSettings = field(default_factory=SystemdBootSettings)

    @property
    def version(self) -> str:
        """The release of GRUB, empty where only signed programs are used that do not tell it.

        Raises RequestError where its modules do not tell.
        """
        if self.grubs:
            return version(next(iter(self.grubs.values())))
        return "" if self.signed is None else self.signed.version

    @property
    def installed(self) -> InstalledGrub:
        """What GRUB the disk starts; raises RequestError where its modules do not tell."""
        paths = {platform: grub.store_path or "" for platform, grub in self.grubs.items()}
        efi = {path for platform, path in paths.items() if platform.is_efi}
        if self.config.grub_efi in efi:
            efi = {self.config.grub_efi}
        elif self.signed is not None:
            efi.add("")
        return InstalledGrub(
            name="grub",
            version=self.version,
            bios=paths.get(Platform.BIOS),
            efi=min(efi, default=None),
        )


def find_loader(
    wanted: Wanted, store: Store, infos: Sequence[PathInfo], paths: Sequence[str]
) -> Loader:
    """Look a boot loader up; `paths` are the store paths in which programs are looked for.

    Raises RequestError with every problem, HostError when a tool fails.
    """
    settings = wanted.systemd_boot
    mounts = boot_mounts(
        shape(wanted.table),
        read_mounts(store, wanted.system),
        settings.esp,
        settings.boot if settings.has_xbootldr else "",
    )
    loader = Loader(name=wanted.loader, mounts=mounts)
    if wanted.loader in ("system", "none"):
        return loader
    if wanted.architecture not in SYSTEMS:
        known = " and ".join(SYSTEMS)
        raise RequestError(
            f"{wanted.system} is for {wanted.architecture}; only {known} can be booted"
        )
    search = _Search(wanted, store, infos, paths)
    add = search.systemd_boot if wanted.loader == "systemd-boot" else search.grub
    loader = add(replace(loader, generations=search.generations()))
    search.found.tell()
    return loader


@dataclass(frozen=True, slots=True)
class _Search:
    """Looks for the parts of a loader, and gathers in `found` what is wrong with them."""

    wanted: Wanted
    store: Store
    infos: Sequence[PathInfo]
    paths: Sequence[str]
    found: Findings = field(default_factory=Findings)

    @property
    def machine(self) -> Machine:
        """The machine that is booted, which is one of those of `SYSTEMS`."""
        return next(one for one in Machine if one.names.nix == self.wanted.architecture)

    def generations(self) -> Sequence[Generation]:
        """What is listed."""
        wanted = self.wanted
        with self.found.gather():
            return read_generations(
                self.store, wanted.generations, wanted.epoch, needed=wanted.system
            )
        return ()

    def systemd_boot(self, loader: Loader) -> Loader:
        """Add what is particular to systemd-boot."""
        settings = self.wanted.systemd_boot
        loader = replace(loader, generations=self._listed(loader, settings.configuration_limit))
        with self.found.gather():
            self.found.problems += stub_problems(self.store, loader.generations)
        self.found.problems += _mount_problems(settings, loader.mounts)
        with self.found.gather():
            program = find_systemd_boot(
                self.store, self.paths, self.machine, first=settings.systemd
            )
            programs = systemd_boot_programs(program, self.machine)
            return replace(loader, programs=programs, systemd_boot=settings)
        return loader

    def _listed(self, loader: Loader, limit: int) -> list[Generation]:
        """The newest `limit` generations, or all if that is 0, and those of the booted system."""
        newest = loader.generations[-limit:]
        system = self.wanted.system
        return [
            one for one in loader.generations if one in newest or one.bootspec.toplevel == system
        ]

    def grub(self, loader: Loader) -> Loader:
        """Add what is particular to GRUB."""
        for one in loader.generations:
            if not one.version:
                log.warning("generation %d is not in GRUB's menu: no nixos-version", one.number)
            for spec in _specs(one):
                for what in filter(None, (spec.devicetree, *spec.extra_initrds)):
                    log.warning(
                        "generation %d: NixOS's GRUB does not load %s, nor is it loaded here",
                        one.number,
                        what,
                    )
        _warn_of_parameters(loader.generations)
        config = GrubConfig()
        with self.found.gather():
            file = find_grub_config(self.store, self.infos, self.wanted.system)
            if file is not None:
                config = read_grub_config(self.store, file, self.wanted.image)
        signed = None
        # Whatever is wrong with programs that are given, it is not that GRUB's modules are missing.
        served = {*Platform} if self.wanted.efi_binaries else set()
        with self.found.gather():
            signed = self._signed()
            chains = () if signed is None else signed.chains
            served = {Platform(chain.machine.names.grub) for chain in chains}
        grubs = self._grubs([*self._named_grubs(config), *sorted(self.paths)], served)
        return replace(loader, config=config, grubs=grubs, signed=signed)

    def _named_grubs(self, config: GrubConfig) -> list[str]:
        """The GRUBs that the system's settings name; warns of those that its closure lacks."""
        named = [*dict.fromkeys(filter(None, (config.grub, config.grub_efi)))]
        present = [path for path in named if self.store.knows(path)]
        for path in named:
            if path not in present:
                log.warning("%s is not in the closure: the first rebuild installs that GRUB", path)
        return present

    def _signed(self) -> Signed | None:
        if not self.wanted.table.boots_efi or not self.wanted.efi_binaries:
            return None
        return given(self.wanted.efi_binaries)

    def _grubs(self, places: Sequence[str], served: Collection[Platform]) -> dict[Platform, Grub]:
        """GRUB for every platform that shall boot, and for those besides that come with it.

        `places` are store paths, the GRUB that the system's settings name first. Signed programs
        boot the platforms `served`: for these GRUB's modules may be missing.
        """
        grubs: dict[Platform, Grub] = {}
        main = Platform(self.machine.names.grub)
        needed = [Platform.BIOS] if self.wanted.table.boots_bios else []
        if self.wanted.table.boots_efi and main not in served:
            needed.append(main)
        for platform in needed:
            with self.found.gather():
                grubs[platform] = find_grub(platform, self.store, places)
        if self.wanted.table.boots_efi and not self.found.problems:
            with self.found.gather():
                grubs |= self._further(places, main, grubs.get(main))
        return grubs

    def _further(
        self, places: Sequence[str], main: Platform, grub: Grub | None
    ) -> dict[Platform, Grub]:
        """GRUB for the firmware of other machines, and for the main one where that need not be."""
        further: dict[Platform, Grub] = {}
        for host in (False, True):
            if grub is None and (grub := find_further(main, self.store, places, host=host)):
                further[main] = grub
        # From the closure or the host, as the main one: else the image would differ by the host.
        host = grub is not None and grub.store_path is None
        for platform in Platform:
            if platform.is_efi and platform is not main:
                other = find_further(platform, self.store, places, host=host)
                if other is not None:
                    further[platform] = other
        return further


def _specs(generation: Generation) -> list[Bootspec]:
    """What the entries of a generation boot: its system and the specialisations."""
    own = generation.bootspec
    return [own, *(inner for _, inner in own.specialisations)]


def _warn_of_parameters(generations: Sequence[Generation]) -> None:
    """Tell which kernel parameters GRUB changes, though they are quoted for its shell."""
    specs = [spec for one in generations for spec in _specs(one)]
    words = [*dict.fromkeys(word for spec in specs for word in escaped_words(spec.kernel_params))]
    if words:
        log.warning(
            "the kernel parameter %s%s reaches the kernel with a backslash before each quote and "
            "backslash, which GRUB writes there: close its quotes, or leave them out",
            words[0],
            f" (and {len(words) - 1} more)" if len(words) > 1 else "",
        )


def _mount_problems(settings: SystemdBootSettings, mounts: BootMounts) -> list[str]:
    """Where the system's own installer of systemd-boot will write beside its partitions."""
    pairs = [(settings.esp, mounts.esp, "the EFI system partition")]
    if settings.has_xbootldr:
        pairs.append((settings.boot, mounts.boot, "the partition for kernels"))
    return [
        f"systemd-boot's installer writes to {place}, but the system mounts {what} at "
        f"{mount.place}: make boot.loader and fileSystems agree"
        for place, mount, what in pairs
        if place and mount is not None and mount.place.rstrip("/") != place.rstrip("/")
    ]
