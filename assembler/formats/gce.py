"""The archive that Google Compute Engine imports: `disk.raw` in a tar, compressed with gzip.

Source: Google, "Manually import boot disks": the file is disk.raw, the tar has the format oldgnu
and may be sparse, and the size of the disk is a whole number of GiB.
"""

import tarfile
import zlib
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from assembler.copying.sparse import write_sparse
from assembler.errors import DamagedError
from assembler.formats.bmap import data_of
from assembler.formats.compressed import UNPACKED, threads
from assembler.formats.format import Disk, Format, foreign, unpacking_limit
from assembler.host import process
from assembler.host.output import Output
from assembler.host.progress import Step
from assembler.host.scratch import scratch_directory
from assembler.units import GIB, KIB

MEMBER = "disk.raw"
_TAR_BLOCK, _MAGIC = 512, slice(257, 265)
_OLD_GNU = b"ustar  \0"
_GZIP = 31  # for zlib: a header of gzip, and the largest window
_START = 64 * KIB  # in which the first block is, however it is compressed


class Gce(Format):
    """GNU tar finds holes by reading, so that the archive does not depend on the file system."""

    name = "gce"
    title = "Google's disk.raw in a tar, compressed with gzip"
    endings = ("tar.gz", "tgz")
    programs = ("tar", "pigz", "gzip")  # tar starts gzip to read
    unit = GIB
    has_large_sectors = False
    streams = True
    compresses = True
    wraps = True

    def write(self, disk: Disk, out: Output, step: Step) -> None:
        """Let GNU tar start the compressor."""
        argv = ["tar", "-c", "-f", "-", "--format=oldgnu", "--sparse", "--hole-detection=raw"]
        argv += ["--owner=0", "--group=0", "--numeric-owner", "--mode=0644"]
        argv += [f"--mtime=@{disk.epoch}", f"--use-compress-program=pigz -n -p {threads()}"]

        data = sum(map(len, data_of(disk.image)))

        def tick(pid: int) -> None:
            packed = min(
                max(0, _bytes_read(pid) - disk.size), data
            )  # tar first reads all for holes
            step.reach(disk.size * packed // max(1, data))

        with scratch_directory() as scratch:
            (Path(scratch) / MEMBER).symlink_to(disk.image)
            argv += ["--dereference", f"--directory={scratch}", MEMBER]
            process.follow(
                argv, what=f"packing the image{out.direction}", tick=tick, stdout=out.handle
            )
        step.reach(disk.size)

    def is_in(self, file: Path) -> bool:
        """Whether a file is a tar, compressed with gzip, whose first member is disk.raw."""
        with file.open("rb") as packed:
            start = packed.read(_START)
        try:
            head = zlib.decompressobj(wbits=_GZIP).decompress(start, _TAR_BLOCK)
        except zlib.error:
            return False
        return head.startswith(f"{MEMBER}\0".encode()) and head[_MAGIC].startswith(b"ustar")

    def unpack(self, file: Path, raw: Path) -> list[str]:
        """Write the first member; it must be the only one, in GNU's older format."""
        argv, limit = ["pigz", "-dc"], unpacking_limit(file, UNPACKED)
        with (
            foreign(),
            file.open("rb") as packed,
            process.reading(
                argv, what="unpacking the image", limit=limit, stdin=packed.fileno()
            ) as stream,
            raw.open("wb") as image,
        ):
            try:
                return _extract(stream, image)
            except (tarfile.TarError, EOFError) as error:
                for _ in iter(lambda: stream.read(_START), b""):  # gzip's fault comes first
                    pass
                raise DamagedError(f"the tar in it is damaged: {error}") from None


def _extract(stream: BufferedReader, image: BinaryIO) -> list[str]:
    magic = stream.peek(_TAR_BLOCK)[_MAGIC]
    faults = [] if magic == _OLD_GNU else ["the tar in it is not in the format oldgnu"]
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        disk = archive.next()
        data = None if disk is None else archive.extractfile(disk)
        if data is None:
            raise DamagedError(f"{MEMBER} is not a file in it")
        write_sparse(data, image)
        if archive.next() is not None:
            faults.append(f"the tar in it has more than {MEMBER}")
    for _ in iter(lambda: stream.read(_START), b""):  # else the compressor would be cut off
        pass
    return faults


def _bytes_read(pid: int) -> int:
    """How many bytes a process has read (proc_pid_io(5)); 0 when it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            key, _, value = line.partition(": ")
            if key == "rchar":
                return int(value)
    return 0
