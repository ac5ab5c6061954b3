"""What is made of a Tree, and who makes it: a root file system, and the writers of one."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from assembler.copying.sender import NO_HASHING, Hashing
from assembler.host.progress import Progress
from assembler.tree.tree import Tree
from assembler.units import SECTOR

Subvolume = tuple[str, str]  # its name in the top level of the file system, where it is mounted
WRITERS = ("auto", "direct", "guestfs")  # direct where it can, or always one of the two


@dataclass(frozen=True, slots=True)
class RootFileSystem:
    """The root file system to make: where in the image (bytes), and everything that names it."""

    offset: int
    size: int
    inodes: int
    label: str
    uuid: UUID
    hash_seed: UUID  # of the directory hashes
    epoch: int  # seconds since 1970: the time at which the file system claims to be made
    partition: int = 0  # its number in the image's table, 0 where there is none
    sector_size: int = SECTOR  # of the disk, in bytes
    data: int = 0  # bytes of host data that will be copied
    subvolumes: tuple[Subvolume, ...] = ()


class Writer(Protocol):
    """Turns a Tree into a file system inside an image."""

    def problems(self) -> list[str]:
        """One line for each thing that this host lacks for it."""

    def write(
        self,
        image: Path,
        target: RootFileSystem,
        tree: Tree,
        progress: Progress,
        hashing: Hashing = NO_HASHING,
    ) -> AbstractContextManager[Mapping[str, str]]:
        """Make `target` in `image` and fill it with `tree`, naming the steps on `progress`.

        Gives the hashes of `hashing.paths`: store path → hexadecimal SHA-256 of its NAR. They are
        known when the block begins; `hashing.last` is copied when the block ends, and only then is
        the file system complete. Raises HostError when a tool fails or the image's disk is full.
        """
