"""What every writer of a root file system takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from assembler.progress import Step
from assembler.root.tree import Tree


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The file system to make: where in the image (bytes), and everything that names it."""

    offset: int
    size: int
    inodes: int
    label: str
    uuid: UUID
    hash_seed: UUID  # of the directory hashes
    epoch: int  # seconds since 1970: when the file system says it was made


class Writer(Protocol):
    """Turns a Tree into a file system inside an image."""

    def write(self, image: Path, target: FileSystem, tree: Tree, step: Step) -> None:
        """Make `target` in `image` and fill it with `tree`, counting data bytes on `step`.

        Raises HostError when a tool fails or the image's disk is full.
        """
