"""What a system decides of a request that its user left open: boot loader and partition table."""

from dataclasses import dataclass, field, replace

from assembler.boot.installer import Installer, read_installer
from assembler.boot.loaders import LOADERS
from assembler.boot.protocol import Expected
from assembler.disk.tables import FOR_EFI_ALONE, Table
from assembler.errors import Message, Setting
from assembler.root.skeleton import current_generation
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
    expected: Expected = field(default_factory=Expected)  # by the installer of this loader

    @property
    def number(self) -> int:
        """Which generation of the system profile the system is."""
        return current_generation(self.spec.root.system, self.spec.root.generations)

    @property
    def generations(self) -> dict[int, str]:
        """The generations of the system profile, the system among them: numbers and toplevels."""
        return {**dict(self.spec.root.generations), self.number: self.spec.root.system}

    def problems(self) -> list[str]:
        """Why the system does not go with what was asked for."""
        problems = []
        table = self.spec.table
        if self.asked.boot_loader is not None or self.asked.partition_table is not Table.NONE:
            problems += self.installer.problems(self.asked.boot_loader)
        if self.architecture in _EFI_ONLY and table.boots_bios:
            why = (
                f" is for BIOS, which no machine for {self.architecture} has: take {FOR_EFI_ALONE}"
            )
            problems.append(Message(Setting("partition_table", table), why))
        return problems + self.spec.boot_problems() + self.expected.problems(table)

    def warn(self) -> None:
        """Tell where another boot loader is taken than the system is configured with."""
        self.installer.warn(self.asked.boot_loader, self.spec.loader)


def resolve(asked: Spec, store: Store, architecture: str) -> Resolution:
    """Look at what the user left open; raises HostError for what cannot be read."""
    installer = read_installer(store, asked.root.system)
    spec, expected = asked, Expected()
    own = LOADERS.get(installer.loader)
    if (
        asked.boot_loader is None
        and asked.partition_table is not Table.NONE
        and own is not None
        and own.is_made_here
    ):
        spec = replace(spec, boot_loader=own.name)
    if spec.loader == installer.loader:
        expected = spec.loader_type.expects(store, installer)
    if spec.partition_table is None:
        if expected.table is not None:
            spec = replace(spec, partition_table=expected.table)
        elif architecture in _EFI_ONLY and spec.loader_type.boots:
            spec = replace(spec, partition_table=Table.EFI)
    return Resolution(asked, spec, architecture, installer, expected)
