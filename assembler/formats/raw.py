"""Raw: the bytes of the disk, one after another."""

from pathlib import Path

from assembler.formats.format import Format


def _finish(_image: Path) -> None:
    """Leave the image as it is: every image is raw until it is finished."""


RAW = Format(name="raw", endings=("raw", "img"), finish=_finish)
