"""Let the system decide what the user left open: boot loader and partition table."""

import logging
from dataclasses import dataclass, field, replace

from assembler.boot.find_installer import read_installer
from assembler.boot.installer import Installer
from assembler.boot.loaders import LOADERS
from assembler.boot.no_loader import NoLoader
from assembler.boot.protocol import Expected
from assembler.disk.tables import FOR_EFI_ALONE, Table
from assembler.errors import Message, Setting
from assembler.machines import boots_by_efi_alone
from assembler.plan.target_findings import machine_problems, setting_problems
from assembler.root.skeleton import current_generation
from assembler.spec import Spec
from assembler.store.paths import Store
from assembler.units import SECTOR

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resolution:
    """The spec that a user `asked` for, and the `spec` with what the system decides."""

    asked: Spec
    spec: Spec
    architecture: str  # of the system, as Nix calls it
    installer: Installer
    expected: Expected = field(default_factory=Expected)  # by the installer of this loader

    @property
    def number(self) -> int:
        """The number of the system's generation in the system profile."""
        return current_generation(self.spec.root.system, self.spec.root.generations)

    @property
    def generations(self) -> dict[int, str]:
        """The generations of the system profile, the system among them: numbers and toplevels."""
        return {**dict(self.spec.root.generations), self.number: self.spec.root.system}

    def problems(self) -> list[str]:
        """One line for each reason why the system does not go with the request."""
        table = self.spec.table
        if problems := machine_problems(self.spec, self.architecture):
            return problems  # the rest would be about a machine that there is not
        problems += self.spec.loader_type.installer_problems(self.installer)
        if self.asked.boot_loader is None and self.asked.table.has_partitions:
            problems += loader_problems(self.installer)
        if boots_by_efi_alone(self.architecture) and table.boots_bios:
            why = (
                f" is for BIOS, which no machine for {self.architecture} has: take {FOR_EFI_ALONE}"
            )
            problems.append(Message(Setting("partition_table", table), why))
        problems += self.spec.boot_problems() + self.expected.problems(table)
        return problems + setting_problems(self.spec)

    def warn(self) -> None:
        """Warn where another boot loader is taken than the system is configured with."""
        asked, taken, table = self.asked.boot_loader, self.spec.loader, self.spec.table
        if warning := other_loader(self.installer, asked, taken, table):
            log.warning("%s", warning)


def resolve(asked: Spec, store: Store, architecture: str) -> Resolution:
    """Decide what the user left open; raises HostError for a file that cannot be read."""
    installer = read_installer(store, asked.root.system)
    spec, expected = asked, Expected()
    own = LOADERS.get(installer.loader)
    if (
        asked.boot_loader is None
        and asked.table.has_partitions
        and own is not None
        and own.is_made_here
    ):
        spec = replace(spec, boot_loader=own.name)
    if spec.loader == installer.loader:
        expected = spec.loader_type.expects(store, installer)
    if spec.partition_table is None:
        if expected.table is not None:
            spec = replace(spec, partition_table=expected.table)
        elif boots_by_efi_alone(architecture) and spec.loader_type.boots:
            spec = replace(spec, partition_table=Table.EFI)
    return Resolution(asked, spec, architecture, installer, expected)


def loader_problems(installer: Installer) -> list[str]:
    """One line if the system's boot loader is not made here, with the possible ones."""
    if not installer.loader or installer.loader in LOADERS:
        return []
    why = f"the system is configured with the boot loader {installer.loader}, which is not made "
    grub, system = Setting("boot_loader", "grub"), Setting("boot_loader", "system")
    if not installer.starts_disk:
        return [Message(why, "here: take ", grub, ", or none if something else starts the disk")]
    if installer.program:
        own = f", which runs the system's own installer ({installer.program}), or grub"
        return [Message(why, "here: take ", system, own)]
    return [Message(why, "here: take ", grub)]


def other_loader(installer: Installer, asked: str | None, taken: str, table: Table) -> str:
    """A warning if the boot loader `taken` is not the one that a system is configured with.

    `asked` is the one that the user named, None where the closure decided; `table` is that of the
    disk. Empty if there is nothing to warn of.
    """
    own = LOADERS.get(installer.loader)
    if own is None and not installer.loader:
        return ""
    made = own is not None and own.is_made_here
    if taken == NoLoader.name and asked is None and made:
        return _no_loader(installer.loader, table)
    if not LOADERS[taken].is_made_here or installer.loader == taken:
        return ""
    if own is not NoLoader and asked is not None:
        why = (
            f" is taken, but the system is configured with {installer.loader}, which its first "
            "rebuild installs"
        )
        return Message(Setting("boot_loader", taken), why)
    if own is NoLoader and asked is None:
        why = (
            "the system is configured without a boot loader: it gets GRUB, whose menu no rebuild "
            "will change; "
        )
        return Message(why, Setting("boot_loader", NoLoader.name), " leaves GRUB out")
    return ""


def _no_loader(configured: str, table: Table) -> str:
    """The warning for a bare file system, which gets no boot loader unless one is asked for."""
    why = (
        f"a bare file system gets no boot loader, though the system is configured with "
        f"{configured}: something else has to start it"
    )
    if LOADERS[configured].disk_problems(table, SECTOR):
        return why
    return Message(f"{why}; ", Setting("boot_loader", configured), " writes its menu")
