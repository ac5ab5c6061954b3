"""What every output format offers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """An output format. The name of the file chooses it.

    `finish` turns a complete and checked raw image into the format, in place: the path stays. It
    raises HostError when a tool fails or the disk is full.
    """

    name: str  # as qemu-img calls it
    endings: tuple[str, ...]  # what names of such files end in, after the last dot; lower case
    finish: Callable[[Path], None]
