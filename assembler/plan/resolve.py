"""What a system decides of a request that its user left open: boot loader and partition table."""

from dataclasses import dataclass, field, replace

from assembler.boot.installer import GRUB, MADE, SYSTEMD, Installer, read_installer
from assembler.boot.systemd_boot.extra_files import warn_of_commands
from assembler.boot.systemd_boot.settings import (
    SystemdBootSettings,
    read_systemd_boot_settings,
)
from assembler.disk.layout import Table
from assembler.spec import Spec
from assembler.store.paths import Store

_EFI_ONLY = ("aarch64-linux",)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a user `asked` for, and the `spec` that it is together with what a system decides."""

    asked: Spec
    spec: Spec
    architecture: str  # of the system, as Nix calls it
    installer: Installer
    systemd_boot: SystemdBootSettings = field(default_factory=SystemdBootSettings)

    def problems(self) -> list[str]:
        """Why the system does not go with what was asked for."""
        problems = []
        table = self.spec.partition_table
        if self.asked.boot_loader is not None or self.asked.table is not Table.NONE:
            problems += self.installer.problems(self.asked.boot_loader)
        if self.architecture in _EFI_ONLY and table.boots_bios:
            problems.append(
                f"--partition-table {table} is for BIOS, which no machine for "
                f"{self.architecture} has: take efi or efixbootldr"
            )
        return problems + self.spec.boot_problems() + self._systemd_boot_problems()

    def warn(self) -> None:
        """Tell where another boot loader is taken than the system is configured with."""
        self.installer.warn(self.asked.boot_loader, self.spec.loader)

    def _systemd_boot_problems(self) -> list[str]:
        """Why the partitions are not those that the system's own installer will write to."""
        settings, table = self.systemd_boot, self.spec.partition_table
        option = "boot.loader.systemd-boot.xbootldrMountPoint"
        if not settings.builder or settings.has_xbootldr == (table is Table.EFIXBOOTLDR):
            return []
        if settings.has_xbootldr:
            return [
                f"the system has its kernels in a partition of their own, at {settings.boot} "
                f"({option}): take --partition-table efixbootldr, not {table}"
            ]
        return [
            f"the system has its kernels in the EFI system partition, at {settings.esp}: take "
            f"--partition-table efi, or set {option}"
        ]


def resolve(asked: Spec, store: Store, architecture: str) -> Resolution:
    """Look at what the user left open.

    Raises RequestError for what of systemd-boot's settings cannot be had, HostError for what
    cannot be read.
    """
    installer = read_installer(store, asked.root.system)
    spec, settings = asked, SystemdBootSettings()
    if asked.boot_loader is None and asked.table is not Table.NONE and installer.loader in MADE:
        spec = replace(spec, boot_loader=installer.loader)
    if spec.loader == installer.loader == GRUB:
        warn_of_commands(store, GRUB, installer.program, "install-grub.pl")
    if spec.loader == installer.loader == SYSTEMD:
        settings = read_systemd_boot_settings(store, installer.program)
        if asked.table is None and settings.has_xbootldr:
            spec = replace(spec, table=Table.EFIXBOOTLDR)
    if spec.table is None and architecture in _EFI_ONLY and spec.loader != "none":
        spec = replace(spec, table=Table.EFI)
    return Resolution(asked, spec, architecture, installer, settings)
