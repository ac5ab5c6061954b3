"""The files that boot loaders put onto a disk."""

import stat
from dataclasses import dataclass, replace
from pathlib import Path

from assembler.errors import HostError, reason
from assembler.tree.tree import Node, regular

_MODE = 0o644  # what NixOS writes or copies has the mode that its umask leaves


@dataclass(frozen=True, slots=True)
class BootFile:
    """A file of a boot loader: its path from the top of a file system, or below /boot.

    `source` is its content, or the file of this host that is copied. A FAT keeps no `mode`.
    """

    path: str
    source: bytes | Path
    mode: int = _MODE

    def below(self, directory: str) -> "BootFile":
        """The same file in a directory."""
        return replace(self, path=f"{directory}/{self.path}")

    def node(self, epoch: int) -> Node:
        """The file in a Tree, with the time `epoch` (seconds).

        Raises HostError where the host's file cannot be read.
        """
        if isinstance(self.source, bytes):
            return regular(self.source, self.mode, mtime=epoch)
        try:
            size = self.source.stat().st_size
        except OSError as error:
            raise HostError(f"cannot read {reason(error)}") from None
        return Node(stat.S_IFREG, self.mode, size, str(self.source), mtime=epoch)
