"""Raw images that a compressor has packed."""

import os
from pathlib import Path
from typing import ClassVar

from assembler.copying.sparse import write_sparse
from assembler.formats.format import Disk, Format, foreign, require_scratch, unpacking_limit
from assembler.host import process
from assembler.host.output import Output
from assembler.host.progress import Step
from assembler.units import KIB

# Bytes a second of a compressed file; where the disk is empty, one becomes thousands.
_UNPACKED = 64 * KIB


def threads() -> int:
    """For a compressor: at least two, because with one some pack another way."""
    return max(2, len(os.sched_getaffinity(0)))


class Compressed(Format):
    """The raw image through a compressor, whose output does not depend on the number of threads."""

    streams = True
    has_block_map = True
    compresses = True
    wraps = True
    argv: ClassVar[tuple[str, ...]]  # {threads} and {size} are filled in

    def write(self, disk: Disk, out: Output, step: Step) -> None:
        """Compress the image; how far the compressor has read is its place in the open file."""
        argv = [arg.format(threads=threads(), size=disk.size) for arg in self.argv]
        with disk.image.open("rb") as image:

            def tick(_: int) -> None:
                step.reach(os.lseek(image.fileno(), 0, os.SEEK_CUR))

            process.follow(
                argv,
                what=f"compressing the image{out.direction}",
                tick=tick,
                stdin=image.fileno(),
                stdout=out.handle,
                room=out.room,
            )
            tick(0)

    def unpack(self, file: Path, raw: Path) -> list[str]:
        """Let the compressor write, and leave holes for zeros."""
        argv, limit = [self.argv[0], "-dc"], unpacking_limit(file, _UNPACKED)
        require_scratch(file.stat().st_size)
        with (
            foreign(),
            file.open("rb") as packed,
            process.reading(
                argv, what="unpacking the image", limit=limit, stdin=packed.fileno()
            ) as stream,
            raw.open("wb") as image,
        ):
            write_sparse(stream, image)
        return []
