"""Raw: the bytes of the disk, one after another."""

from assembler.copying.streams import send_file
from assembler.formats.format import Disk, Format
from assembler.host.output import Output
from assembler.host.progress import Step


class Raw(Format):
    """The raw image as it is."""

    name = "raw"
    title = "raw"
    endings = ("raw", "img")
    driver = "raw"
    in_place = True
    streams = True

    def write(self, disk: Disk, out: Output, step: Step) -> None:
        """Leave a file as it is; send the bytes to a stream, zeros for holes."""
        if out.path is None:
            send_file(disk.image, out.handle, step)
