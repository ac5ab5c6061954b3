"""Bytes of an image, from its start to its end, into a pipe or a file."""

from pathlib import Path

from assembler.host.output import Output
from assembler.host.progress import Step

_CHUNK = 1 << 20  # bytes, with which a pipe is filled fastest


def send_file(image: Path, out: Output, step: Step) -> None:
    """Write all of a file to the output, zeros for holes; raises OSError.

    Not by sendfile(2), which takes no file that is opened for appending, and no device.
    """
    with image.open("rb") as file, out.open() as opened:
        while chunk := file.read(_CHUNK):
            opened.write(chunk)
            step.advance(len(chunk))
