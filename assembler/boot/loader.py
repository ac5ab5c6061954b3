"""The boot loader that is asked for, with all that it needs looked up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assembler.boot.efi import find_signed, find_systemd_boot, systemd_boot_programs
from assembler.boot.efi_chain import EspFiles, Signed, given
from assembler.boot.efi_program import machine_of
from assembler.boot.fstab import BootMounts, boot_mounts, read_mounts
from assembler.boot.generation import Generation, read_generations
from assembler.boot.grub import (
    Grub,
    Platform,
    find_grub,
    find_modules,
    find_modules_on_host,
    version,
)
from assembler.boot.grub_config import GrubConfig, find_grub_config, read_grub_config
from assembler.disk.layout import Table
from assembler.errors import Findings, RequestError
from assembler.store.paths import Store
from assembler.store.registration import PathInfo

_EFI_PLATFORMS = {"x86_64-linux": Platform.EFI, "aarch64-linux": Platform.EFI_ARM64}


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

    @property
    def version(self) -> str:
        """The release of GRUB; raises HostError where its modules do not tell."""
        return version(next(iter(self.grubs.values())))


def find_loader(
    wanted: Wanted, store: Store, infos: Sequence[PathInfo], paths: Sequence[str]
) -> Loader:
    """Look a boot loader up; `paths` are the store paths in which programs are looked for.

    Raises RequestError with every problem, HostError when a tool fails.
    """
    mounts = boot_mounts(wanted.table, read_mounts(store, wanted.system))
    if wanted.loader in ("system", "none"):
        return Loader(name=wanted.loader, mounts=mounts)
    found = Findings()
    generations: list[Generation] = []
    with found.gather():
        generations = read_generations(
            store, wanted.generations, wanted.epoch, needed=wanted.system
        )
    if wanted.loader == "systemd-boot":
        programs: EspFiles = {}
        with found.gather():
            if (machine := machine_of(wanted.architecture)) is None:
                raise RequestError(f"there is no systemd-boot for {wanted.architecture}")
            program = find_systemd_boot(store, paths, machine)
            programs = systemd_boot_programs(program, machine)
        found.tell()
        return Loader(name=wanted.loader, mounts=mounts, generations=generations, programs=programs)
    config, grubs, signed = GrubConfig(), {}, None
    with found.gather():
        if (file := find_grub_config(store, infos, wanted.system)) is not None:
            config = read_grub_config(store, file)
    with found.gather():
        if wanted.table.boots_efi:
            if wanted.efi_binaries:
                signed = given(wanted.efi_binaries)
            else:
                signed = find_signed(store, paths)
    with found.gather():
        grubs = _find_grubs(wanted, store, config, paths)
    found.tell()
    return Loader(
        name=wanted.loader,
        mounts=mounts,
        generations=generations,
        config=config,
        grubs=grubs,
        signed=signed,
    )


def _find_grubs(
    wanted: Wanted, store: Store, config: GrubConfig, paths: Iterable[str]
) -> dict[Platform, Grub]:
    """GRUB for every platform that shall boot, and for those besides that come with it.

    The GRUB that the system's settings name comes first.
    """
    named = [path for path in (config.grub, config.grub_efi) if path]
    places = [*named, *sorted(paths)]
    needed = [Platform.BIOS] if wanted.table.boots_bios else []
    if wanted.table.boots_efi:
        needed.append(_EFI_PLATFORMS[wanted.architecture])
    grubs = {}
    problems: list[str] = []
    for platform in needed:
        try:
            grubs[platform] = find_grub(platform, store, places)
        except RequestError as error:
            problems += error.problems
    if problems:
        raise RequestError(problems)
    if wanted.table.boots_efi:
        # From the closure or the host, as the main one: else the image would differ by the host.
        from_closure = grubs[needed[-1]].store_path is not None
        for platform in Platform:
            if platform.is_efi and platform not in grubs:
                grub = (
                    find_modules(platform, store, places)
                    if from_closure
                    else find_modules_on_host(platform)
                )
                if grub is not None:
                    grubs[platform] = grub
    return grubs
