"""Raw: the bytes of the disk, one after another."""

from pathlib import Path

from assembler.copying.sparse import copy_sparse
from assembler.copying.streams import send_file
from assembler.formats.format import Disk, Format
from assembler.host.output import Output
from assembler.host.progress import Step


class RawFormat(Format):
    """The raw image as it is."""

    name = "raw"
    title = "raw"
    endings = ("raw", "img")
    driver = "raw"
    in_place = True
    streams = True
    has_block_map = True

    def write(self, disk: Disk, out: Output, step: Step) -> None:
        """Leave a file as it is; send the bytes to a stream, zeros for holes."""
        if out.path is None:
            send_file(disk.image, out, step)

    def unpack(self, file: Path, raw: Path) -> list[str]:
        """Copy the file."""
        copy_sparse(file, raw, 0, file.stat().st_size)
        return []
