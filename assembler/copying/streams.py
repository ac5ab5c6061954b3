"""Bytes of an image, from its start to its end, into a pipe or a file."""

import os
from pathlib import Path

from assembler.host.progress import Step

_CHUNK = 8 << 20  # bytes between two looks at the clock


def send_file(image: Path, handle: int, step: Step) -> None:
    """Write all of a file to an open file or pipe, zeros for holes; raises OSError."""
    with image.open("rb") as file:
        while sent := os.sendfile(handle, file.fileno(), None, _CHUNK):
            step.advance(sent)
