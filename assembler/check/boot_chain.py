"""The result of a walk along a boot chain: its links in order, and the first that is broken."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from assembler.check.grub_reader import GrubReader
from assembler.check.menu import CheckedEntry
from assembler.check.part import Part
from assembler.units import SECTOR


class BrokenError(Exception):
    """A link of a chain is broken; the message has which one and why."""


class ForeignError(BrokenError):
    """The menu starts a kernel for another kind of machine; `summary` is a shorter message."""

    def __init__(self, words: str, summary: str) -> None:
        super().__init__(words)
        self.summary = summary


@dataclass(frozen=True, slots=True)
class BootDisk:
    """An image whose boot chains are walked."""

    image: Path
    table: str  # gpt, dos, or empty for an image without one
    partitions: tuple[Part, ...]
    reader: GrubReader
    sector_size: int = SECTOR  # bytes
    whole: set[Path] = field(default_factory=set)  # copies of files that were checked and are whole


@dataclass(frozen=True, slots=True)
class BootChain:
    """The links from a firmware to a kernel; `fault` names the broken one, if any.

    Without the name of a firmware, it means that there is no chain at all.
    """

    firmware: str
    links: tuple[str, ...]
    details: tuple[str, ...] = ()  # of menu entries
    fault: str = ""
    remarks: tuple[str, ...] = ()
    entries: tuple[CheckedEntry, ...] = ()
    followed: bool = True  # False where a part of the menu was not followed: see remarks


@dataclass(slots=True)
class Trail:
    """A chain while it is walked."""

    firmware: str
    links: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    entries: list[CheckedEntry] = field(default_factory=list)
    followed: bool = True
    fault: str = ""
    foreign: str = ""  # how it leads to something for another kind of machine, if it does

    @contextmanager
    def walked(self) -> Iterator["Trail"]:
        """Walk until a link is broken: a BrokenError in the block becomes the fault."""
        try:
            yield self
        except BrokenError as error:
            self.fault = f"{self.firmware}: {' '.join(str(error).split())}"
            self.foreign = error.summary if isinstance(error, ForeignError) else ""

    def excuse(self, words: str) -> None:
        """Make the fault a remark, because the disk boots without this chain."""
        self.remarks.append(words)
        self.fault = ""

    def leave_out(self, words: str) -> None:
        """Remark that a part of the menu is not followed."""
        self.remarks.append(f"not followed: {words}")
        self.followed = False

    @property
    def chain(self) -> BootChain:
        """The chain as far as it was walked."""
        return BootChain(
            self.firmware,
            tuple(self.links),
            tuple(self.details),
            self.fault,
            tuple(self.remarks),
            tuple(self.entries),
            self.followed,
        )
