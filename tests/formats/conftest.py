"""Files in all output formats, made once for all modules that damage them."""

from pathlib import Path

import pytest

from assembler.formats.registry import FORMATS
from assembler.units import MIB
from tests.formats.test_formats import SIZE, make
from tests.support.damage import Whole, write_disk


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A file in a format, made when it is asked for; its data goes to the end of the disk."""
    top = tmp_path_factory.mktemp("whole")
    raw, piece = top / "image", 300_032
    write_disk(raw, SIZE, piece, [0, 5 * MIB, SIZE - piece])

    def get(name: str) -> Path:
        made = top / name
        return made if made.exists() else make(raw, made, FORMATS[name])

    return get
