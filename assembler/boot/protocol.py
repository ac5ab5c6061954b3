"""The interface of every boot loader, and the target that a boot loader is found for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, Self

from assembler.appliance.session import Appliance
from assembler.boot.boot_file import BootFile
from assembler.boot.installer import Installer
from assembler.boot.mounts.boot_mounts import BootMounts
from assembler.boot.places import Places
from assembler.boot.volumes import Role, Volume
from assembler.disk.layout import Layout
from assembler.disk.tables import Table
from assembler.errors import Message, RequestError, Setting
from assembler.machines import SYSTEMS, Machine, machine_of
from assembler.store.paths import Store
from assembler.store.registration import PathInfo

ImageFile = Callable[[str], bytes | None]  # what the image has at a path outside the store


@dataclass(frozen=True, slots=True)
class Expected:
    """What the system's own installer of a boot loader expects to find on the disk."""

    esp: str = ""  # where the EFI system partition is mounted; empty: unknown
    boot: str = ""  # where the partition for kernels is mounted; empty: there is none, or unknown
    table: Table | None = None  # the partition table; None: any
    kernels: str = ""  # in words: where it writes kernels to
    remedy: str = ""  # in words: what else to do if the disk has another table

    def problems(self, table: Table) -> list[str]:
        """One line if the disk lacks a partition that the installer will write to."""
        if self.table is None or self.table.has_boot_partition == table.has_boot_partition:
            return []
        take = Setting("partition_table", self.table)
        why = f"the system has its kernels {self.kernels}: take "
        return [Message(why, take, f", not {table}{self.remedy}")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BootTarget:
    """The system and the disk for which a boot loader is looked up."""

    store: Store
    infos: Sequence[PathInfo]
    programs: Sequence[str]  # the store paths in which programs are looked for
    system: str  # the toplevel that is booted
    architecture: str  # its platform, as Nix calls it
    number: int  # of its generation, which is one of `generations`
    generations: Sequence[tuple[int, str]]  # of the system profile: numbers and toplevels
    epoch: int  # seconds: the time of the profile's links
    table: Table
    mounts: BootMounts = field(default_factory=BootMounts)
    installer: Installer = field(default_factory=Installer)
    efi_binaries: Sequence[Path] = ()
    image: ImageFile = lambda _path: None

    @property
    def machine(self) -> Machine:
        """The machine that is booted; raises RequestError for one that no loader here boots."""
        machine = machine_of(self.architecture)
        if machine is None or not machine.facts.has_systems:
            known = " and ".join(SYSTEMS)
            raise RequestError(
                f"{self.system} is for {self.architecture}; only {known} can be booted"
            )
        return machine


class BootCode(Protocol):
    """What a BIOS starts, outside all file systems."""

    def problems(self, layout: Layout) -> list[str]:
        """One line for each reason why a disk cannot hold it."""

    def install(self, image: Path, layout: Layout) -> None:
        """Write it into `image`, which has its partition table already; raises HostError."""


@dataclass(frozen=True, slots=True)
class BootData:
    """All that a boot loader puts onto a disk."""

    files: Mapping[Role, Sequence[BootFile]] = field(default_factory=dict)
    code: BootCode | None = None

    def of(self, role: Role) -> Sequence[BootFile]:
        """The files of one file system."""
        return self.files.get(role, ())


class BootLoader(Protocol):
    """A boot loader, with all that it needs looked up.

    The class holds what needs no lookup: its name, and which disks it can boot. A method that a
    class does not define does nothing.
    """

    name: ClassVar[str]  # as the user chooses it
    installers: ClassVar[tuple[str, ...]] = ()  # names of the programs with which NixOS installs it
    boots: ClassVar[bool] = True  # whether the disk boots
    is_made_here: ClassVar[bool] = False  # whether its files are made without an appliance
    takes_efi_programs: ClassVar[bool] = False  # whether the user can give it EFI programs
    has_installer: ClassVar[bool] = False  # whether `run_installer` does something
    starts_by_bios: ClassVar[bool] = True
    # Whether systemd can learn from it which partition it came from: root=gpt-auto needs that.
    names_its_partition: ClassVar[bool] = True

    @classmethod
    def disk_problems(cls, table: Table, sector_size: int) -> list[str]:
        """Why it cannot boot a disk with this partition table and bytes in a sector."""
        return no_boot_partition(cls.name, table)

    @classmethod
    def installer_problems(cls, installer: Installer) -> list[str]:
        """Why it does not go with the installer that the system has."""
        return []

    @classmethod
    def expects(cls, store: Store, installer: Installer) -> Expected:
        """What the system's own installer expects of the disk; raises HostError."""
        return Expected()

    @classmethod
    def find(cls, target: BootTarget) -> Self:
        """Look up everything that it needs.

        Raises RequestError with every problem, HostError when a tool fails.
        """

    def make(self, places: Places) -> BootData:
        """All that it puts onto a disk; raises RequestError, or HostError when a tool fails."""
        return BootData()

    def problems(self, data: BootData, places: Places) -> list[str]:
        """Why the finished disk would not boot; `data` has the user's files beside its own."""
        return []

    def run_installer(
        self, appliance: Appliance, layout: Layout, volumes: Mapping[Role, Volume]
    ) -> None:
        """Install it with the system's own program, in an appliance that has the root mounted.

        Raises HostError.
        """


def no_boot_partition(loader: str, table: Table) -> list[str]:
    """Why a disk without a partition table cannot hold a boot loader."""
    if table.has_partitions:
        return []
    why = f", not {loader}, or another table; with grub it has a menu for a GRUB from outside"
    none = Setting("boot_loader", "none")
    held = Setting("partition_table", table)
    return [Message(held, " cannot hold a boot loader: take ", none, why)]
