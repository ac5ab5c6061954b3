"""systemd-boot as a boot loader."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from assembler.boot.boot_file import BootFile
from assembler.boot.generation import Generation, read_generations
from assembler.boot.installer import Installer
from assembler.boot.mounts.boot_mounts import BootMounts
from assembler.boot.places import Places
from assembler.boot.protocol import BootData, BootLoader, BootTarget, Expected, no_boot_partition
from assembler.boot.systemd_boot.entries import absent_initrds, stub_problems, systemd_boot_files
from assembler.boot.systemd_boot.program import find_systemd_boot, systemd_boot_programs
from assembler.boot.systemd_boot.settings import (
    SystemdBootSettings,
    find_settings,
    read_systemd_boot_settings,
)
from assembler.boot.volumes import Role
from assembler.disk.tables import FOR_EFI_ALONE, Table
from assembler.errors import Findings, Message, Setting
from assembler.store.paths import Store
from assembler.units import SECTOR

_XBOOTLDR = "boot.loader.systemd-boot.xbootldrMountPoint"
_GRUB = Setting("boot_loader", "grub")


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemdBoot(BootLoader):
    """systemd-boot, with its program, its settings and the generations that it lists."""

    name: ClassVar[str] = "systemd-boot"
    installers: ClassVar[tuple[str, ...]] = (
        "install-systemd-boot.sh",
        "systemd-boot-builder.py",
        "gummiboot-builder.py",
    )
    is_made_here: ClassVar[bool] = True
    starts_by_bios: ClassVar[bool] = False

    store: Store
    table: Table
    number: int  # the generation that is booted
    generations: Sequence[Generation]
    programs: Sequence[BootFile]  # by their paths on the ESP
    settings: SystemdBootSettings

    @classmethod
    def disk_problems(cls, table: Table, sector_size: int) -> list[str]:
        """UEFI must start it, and it finds an XBOOTLDR partition by 512-byte sectors only."""
        if table.boots_bios:
            why = f" is for BIOS, too, which does not start systemd-boot: take {FOR_EFI_ALONE}, or "
            return [Message(Setting("partition_table", table), why, _GRUB)]
        if table.has_boot_partition and sector_size != SECTOR:
            why = ": systemd-boot finds no kernels in an XBOOTLDR partition of such a disk: take "
            sectors, efi = Setting("sector_size", sector_size), Setting("partition_table", "efi")
            return [Message(sectors, why, efi, ", or ", _GRUB)]
        return no_boot_partition(cls.name, table)

    @classmethod
    def expects(cls, store: Store, installer: Installer) -> Expected:
        """Where the system's installer of systemd-boot has its partitions mounted."""
        settings, _ = find_settings(store, installer.program)
        if settings is None:
            return Expected()
        if settings.has_xbootldr:
            where = f"in a partition of their own, at {settings.boot} ({_XBOOTLDR})"
            return Expected(settings.esp, settings.boot, Table.EFIXBOOTLDR, where)
        where = f"in the EFI system partition, at {settings.esp}"
        return Expected(settings.esp, "", Table.EFI, where, f", or set {_XBOOTLDR}")

    @classmethod
    def find(cls, target: BootTarget) -> Self:
        """Find systemd-boot's program, its settings and the generations that it lists."""
        machine, found = target.machine, Findings()
        settings, generations = SystemdBootSettings(), list[Generation]()
        if target.installer.loader == cls.name:
            with found.gather():
                settings = read_systemd_boot_settings(target.store, target.installer.program)
        with found.gather():
            generations = read_generations(
                target.store, target.generations, target.epoch, needed=target.system
            )
        newest = generations[-settings.configuration_limit :]  # all, if that is 0
        listed = [
            one for one in generations if one in newest or one.bootspec.toplevel == target.system
        ]
        with found.gather():
            found.problems += stub_problems(target.store, listed)
        found.problems += _mount_problems(settings, target.mounts)
        programs: list[BootFile] = []
        with found.gather():
            program = find_systemd_boot(
                target.store, target.programs, machine, first=settings.systemd
            )
            programs = systemd_boot_programs(program, machine)
        found.raise_any()
        return cls(
            store=target.store,
            table=target.table,
            number=target.number,
            generations=listed,
            programs=programs,
            settings=settings,
        )

    def make(self, _places: Places) -> BootData:
        """Write the entries, and name the files that they start."""
        files = systemd_boot_files(self.store, self.generations, self.number, self.settings)
        esp = {file.path: file for file in (*self.programs, *files.esp)}
        kernels = {file.path: file for file in files.xbootldr}
        if self._entries is Role.BOOT:
            return BootData({Role.ESP: [*esp.values()], Role.BOOT: [*kernels.values()]})
        return BootData({Role.ESP: [*{**esp, **kernels}.values()]})

    def problems(self, data: BootData, _places: Places) -> list[str]:
        """Which initrds the user has not put beside the entries."""
        return absent_initrds(self.generations, [file.path for file in data.of(self._entries)])

    @property
    def _entries(self) -> Role:
        """The partition with the entries and the kernels."""
        return Role.BOOT if self.table.has_boot_partition else Role.ESP


def _mount_problems(settings: SystemdBootSettings, mounts: BootMounts) -> list[str]:
    """The system's own installer of systemd-boot would write beside its partitions."""
    pairs = [(settings.esp, mounts.esp, "the EFI system partition")]
    if settings.has_xbootldr:
        pairs.append((settings.boot, mounts.boot, "the partition for kernels"))
    return [
        f"systemd-boot's installer writes to {place}, but the system mounts {what} at "
        f"{mount.place}: make boot.loader and fileSystems agree"
        for place, mount, what in pairs
        if place and mount is not None and mount.place.rstrip("/") != place.rstrip("/")
    ]
