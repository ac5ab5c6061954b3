"""A disk without a boot loader."""

from dataclasses import dataclass
from typing import ClassVar, Self

from assembler.boot.protocol import BootLoader, BootTarget
from assembler.disk.tables import Table


@dataclass(frozen=True, slots=True)
class NoLoader(BootLoader):
    """No boot loader: something else starts the disk."""

    name: ClassVar[str] = "none"
    installers: ClassVar[tuple[str, ...]] = ("no-bootloader", "true")
    boots: ClassVar[bool] = False

    @classmethod
    def disk_problems(cls, _table: Table, _sector_size: int) -> list[str]:
        """None: any disk will do."""
        return []

    @classmethod
    def find(cls, _target: BootTarget) -> Self:
        """Nothing is looked up."""
        return cls()
