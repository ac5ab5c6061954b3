"""What every output format offers."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from uuid import UUID

from assembler.host.output import Output
from assembler.host.progress import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A complete and checked raw image, and what a format may want to know of its machine."""

    image: Path  # a name without characters that a tool could misread
    size: int  # bytes
    uuid: Callable[[str], UUID]  # derived from the request: the same input gives the same
    epoch: int  # seconds since 1970: the time of everything
    bios: bool  # whether a BIOS starts it
    efi: bool  # whether UEFI starts it


class Format(ABC):
    """An output format. Two runs give the same bytes: no field is random, a time or a name."""

    name: ClassVar[str]  # as users write it
    title: ClassVar[str]  # in sentences, after "the format is"
    endings: ClassVar[tuple[str, ...]]  # what names of such files end in, after a dot; lower case
    programs: ClassVar[tuple[str, ...]] = ()  # that write it
    driver: ClassVar[str] = ""  # as QEMU calls it; empty for what QEMU does not read
    unit: ClassVar[int] = 1  # of the disk's size, in bytes
    largest: ClassVar[int | None] = None  # bytes of the disk
    has_large_sectors: ClassVar[bool] = True  # whether a disk in it may have those of 4096 bytes
    in_place: ClassVar[bool] = False  # whether the raw image itself becomes the output
    streams: ClassVar[bool] = False  # whether it is written from the start to the end
    compresses: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def write(self, disk: Disk, out: Output, step: Step) -> None:
        """Write `disk` to `out`; `step` counts the bytes of the disk that are done.

        With `in_place`, `out` is the image already. Raises HostError when a tool fails, and OSError
        when `out` cannot be written.
        """
