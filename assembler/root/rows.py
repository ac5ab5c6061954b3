"""A row of contents, and from which row an image has a file."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assembler.errors import HostError, Message, Setting, reason
from assembler.store.paths import AbsentError, Store, follow_links, store_path_of
from assembler.tree.modes import Mode
from assembler.tree.tree import Xattrs

_MAX_READ = 1 << 24  # bytes: far more than the files have that are read


def row_message(number: int, text: str) -> Message:
    """A message about the row with a number."""
    return Message(Setting("contents"), f", row {number}: ", text)


@dataclass(frozen=True, slots=True)
class Row:
    """One source for one target; a directory with everything below it."""

    source: str  # on this host
    target: str  # in the image: absolute, normalised
    uid: int = 0
    gid: int = 0
    mode: Mode | None = None  # None: as the source has it
    xattrs: Xattrs = ()  # of the source itself, not of files below a directory
    number: int = field(default=0, compare=False)  # in the list of rows, from 1

    def message(self, text: str) -> Message:
        """A message about the row."""
        return row_message(self.number, text)

    @property
    def has_directory_mode(self) -> bool:
        """Whether the row sets the mode of directories."""
        return any("D" in change.kinds for change in self.mode or ())

    def reaches(self, path: str) -> bool:
        """Whether the row puts something at or below the image's absolute `path`."""
        return self.is_in(path) or self.source_of(path) is not None

    def is_in(self, path: str) -> bool:
        """Whether the target is the image's absolute `path`, or below it."""
        return f"{self.target}/".startswith(f"{path}/")

    def source_of(self, path: str) -> str | None:
        """The host path that the row puts at the image's absolute `path`; None for nothing."""
        if path != self.target and not path.startswith(self.target.rstrip("/") + "/"):
            return None
        source = self.source + path.removeprefix(self.target.rstrip("/"))
        return source if os.path.lexists(source) else None


def rows_with(rows: Sequence[Row], path: str) -> list[Row]:
    """The rows that put something at the image's absolute `path`, alone or with a directory.

    The row from which the image has it comes first: the one with the nearest target.
    """
    found = [row for row in rows if row.source_of(path) is not None]
    return sorted(found, key=lambda row: len(row.target), reverse=True)


def read_target(rows: Sequence[Row], store: Store, path: str) -> bytes | None:
    """The bytes that the image has at an absolute `path` because of its contents, up to 16 MiB.

    Links are followed as the image will. None where the rows put no file there. Raises
    RequestError for a link that leads out of the closure, HostError for what cannot be read.
    """

    def link(here: str) -> str | None:
        if store_path_of(here) is not None:
            return store.link(here)
        source = next((row.source_of(here) for row in rows_with(rows, here)), None)
        if source is not None:
            return os.readlink(source) if os.path.islink(source) else None
        if any(row.target.startswith(here + "/") for row in rows):
            return None  # a directory on the way to a target
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), here)

    def fault(here: str) -> str:
        top = store_path_of(here)
        return "" if top is None or store.contains(top) else "not in the closure"

    try:
        real = follow_links(path, link, fault)
        file = store.host(real)
        if store_path_of(real) is None:
            file = Path(next((row.source_of(real) or "" for row in rows_with(rows, real)), ""))
        if not file.is_file():
            return None
        with file.open("rb") as opened:
            return opened.read(_MAX_READ)
    except AbsentError:
        return None
    except OSError as error:
        raise HostError(f"cannot read {reason(error)}") from None
