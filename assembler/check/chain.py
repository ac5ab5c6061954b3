"""What a walk along a boot chain found: its links in order, and the first that is broken."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from assembler.check.grub.reader import GrubReader
from assembler.check.offer import Offer
from assembler.check.part import Part
from assembler.units import SECTOR


class BrokenError(Exception):
    """A link is broken: which, and what is wrong there, in one line."""


class ForeignError(BrokenError):
    """What the menu starts is for another kind of machine; `summary` tells of it in short."""

    def __init__(self, words: str, summary: str) -> None:
        super().__init__(words)
        self.summary = summary


@dataclass(frozen=True, slots=True)
class Disk:
    """An image whose boot chains are walked."""

    image: Path
    table: str  # gpt or dos, by sfdisk's names
    partitions: tuple[Part, ...]
    reader: GrubReader
    sector_size: int = SECTOR  # bytes
    whole: set[Path] = field(default_factory=set)  # copies of files that were found to be whole


@dataclass(frozen=True, slots=True)
class Chain:
    """The links from a firmware to what it boots; `fault` says which one is broken, if any.

    Without a name of a firmware it stands for those that are not there at all.
    """

    firmware: str
    links: tuple[str, ...]
    details: tuple[str, ...] = ()  # of menu entries
    fault: str = ""
    remarks: tuple[str, ...] = ()
    offers: tuple[Offer, ...] = ()

    def describe(self) -> list[str]:
        """The chain as lines for the user."""
        if not self.firmware:
            return []
        links = [*self.links, "broken"] if self.fault else list(self.links)
        below = [f"  {line}" for line in (*self.details, *self.remarks)]
        return [f"{self.firmware}: {' -> '.join(links)}", *below]


@dataclass(slots=True)
class Trail:
    """A chain while it is walked."""

    firmware: str
    links: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)
    fault: str = ""
    foreign: str = ""  # how it leads to something for another kind of machine, if it does

    @contextmanager
    def walked(self) -> Iterator["Trail"]:
        """Walk until a link is broken: BrokenError ends the block, not the caller."""
        try:
            yield self
        except BrokenError as error:
            self.fault = f"{self.firmware}: {' '.join(str(error).split())}"
            self.foreign = error.summary if isinstance(error, ForeignError) else ""

    def excuse(self, words: str) -> None:
        """Take the fault for no more than a remark, as the disk boots without this chain."""
        self.remarks.append(words)
        self.fault = ""

    @property
    def chain(self) -> Chain:
        """What was found so far."""
        return Chain(
            self.firmware,
            tuple(self.links),
            tuple(self.details),
            self.fault,
            tuple(self.remarks),
            tuple(self.offers),
        )
