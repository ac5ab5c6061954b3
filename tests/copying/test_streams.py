"""Images go to any file or device that standard output may be, and failures name it.

Without these tests, `assemble --out - >> file` can fail after minutes, with a message that names no
file.
"""

import os
from pathlib import Path
from uuid import UUID

import pytest

from assembler.copying.streams import send_file
from assembler.errors import HostError, reason
from assembler.formats.format import Disk
from assembler.formats.registry import FORMATS
from assembler.host.output import Output
from assembler.host.progress import Step
from assembler.units import MIB

CONTENT = os.urandom(MIB) + bytes(MIB) + b"end"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(CONTENT)
    return path


def test_what_a_file_that_is_appended_to_has_stays(image: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"before")
    with (tmp_path / "out").open("ab") as file:
        send_file(image, Output(file.fileno()), Step(None))
    assert (tmp_path / "out").read_bytes() == b"before" + CONTENT


@pytest.mark.parametrize("name", ["raw", "vma", "raw.zst", "raw.gz", "raw.xz", "gce"])
def test_a_full_device(image: Path, name: str) -> None:
    size = len(CONTENT)
    disk = Disk(image=image, size=size, uuid=lambda _: UUID(int=1), epoch=1, bios=True, efi=True)
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises((OSError, HostError)) as caught,
    ):
        FORMATS[name].write(disk, Output(full.fileno()), Step(None))
    error = caught.value
    [line] = [reason(error)] if isinstance(error, OSError) else error.lines
    assert "standard output: " in line
    assert "No space left on device" in line
