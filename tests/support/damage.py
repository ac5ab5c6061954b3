"""Whole files in output formats, to be damaged, and what check-image finds in them."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from assembler.check.unpack import unpack_image

Whole = Callable[[str], Path]  # the file in a format, made once


def write_disk(raw: Path, size: int, piece: int, places: list[int]) -> None:
    """A disk of noise between holes."""
    drawn = random.Random(1)
    with raw.open("wb") as file:
        file.truncate(size)
        for place in places:
            file.seek(place)
            file.write(drawn.randbytes(piece))


def faults_of(file: Path) -> list[str]:
    """The faults of the formats that a file has."""
    with tempfile.TemporaryDirectory() as scratch:
        return [*unpack_image(file, file, Path(scratch)).faults]
