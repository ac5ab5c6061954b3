"""The archive that Google Compute Engine imports: `disk.raw` in a tar, compressed with gzip.

Source: Google, "Manually import boot disks": the file is disk.raw, the tar has the format oldgnu
and may be sparse, and the size of the disk is a whole number of GiB.
"""

import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO, cast

from assembler.copying.sparse import Readable, write_sparse
from assembler.errors import DamagedError
from assembler.formats.bmap import data_of
from assembler.formats.compressed import threads
from assembler.formats.format import Disk, Format, require_scratch, set_size
from assembler.formats.raw_gz import gunzipped
from assembler.host import process
from assembler.host.output import Output
from assembler.host.progress import Step
from assembler.host.scratch import scratch_directory
from assembler.tree.linux import MAX_FILE
from assembler.units import GIB, KIB

MEMBER = "disk.raw"
_TAR_BLOCK, _NAME, _MAGIC = 512, 100, slice(257, 265)
_OLD_GNU = b"ustar  \0"
_GZIP = 31  # for zlib: a header of gzip, and the largest window
_START = 64 * KIB  # in which the first block is, however it is compressed


class Gce(Format):
    """GNU tar finds holes by reading, so the archive does not depend on a file system's blocks.

    Where a file system has no holes at all, GNU tar packs the disk as an ordinary file.
    """

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
                argv,
                what=f"packing the image{out.direction}",
                tick=tick,
                stdout=out.handle,
                room=out.room,
            )
        step.reach(disk.size)

    def is_in(self, file: Path) -> bool:
        """Whether a file is a tar, compressed with gzip, and no OVA."""
        with file.open("rb") as packed:
            start = packed.read(_START)
        try:
            head = zlib.decompressobj(wbits=_GZIP).decompress(start, _TAR_BLOCK)
        except zlib.error:
            return False
        name = head[:_NAME].partition(b"\0")[0]
        if head[_MAGIC].startswith(b"ustar") or name == MEMBER.encode():
            return not name.endswith(b".ovf")
        try:
            tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")  # one older than any magic
        except tarfile.TarError:
            return False
        return True

    def unpack(self, file: Path, raw: Path) -> list[str]:
        """Write the first member; it must be the only one, in GNU's older format."""
        require_scratch(file.stat().st_size)
        with gunzipped(file) as stream, raw.open("wb") as image:
            try:
                return _extract(_Kept(stream), image)
            except tarfile.TarError as error:
                raise DamagedError(f"the tar in it is damaged: {error}") from None


class _Kept(RawIOBase):
    """A stream that keeps the first piece and the last two, more than tarfile reads ahead."""

    def __init__(self, stream: Readable) -> None:
        super().__init__()
        self._stream, self._last, self._count = stream, (b"", b""), 0
        self.first = b""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        piece = self._stream.read(size)
        self.first = self.first or piece
        self._last, self._count = (self._last[1], piece), self._count + len(piece)
        return piece

    def pieces_from(self, place: int) -> Iterator[bytes]:
        """What follows a place in the stream, of which the last two pieces may be read already."""
        yield b"".join(self._last)[-(self._count - place) :] if self._count > place else b""
        yield from iter(lambda: self._stream.read(_START), b"")


def _extract(stream: _Kept, image: BinaryIO) -> list[str]:
    """Write the first member; returns what is wrong with the archive though that can be read."""
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        disk = archive.next()
        data = archive.fileobj  # that of `extractfile` cannot pass over holes
        if disk is None or not disk.isreg() or data is None:
            raise DamagedError(f"the first member of the tar in it is not a file {MEMBER}")
        listed = cast("list[tuple[int, int]]", disk.sparse) or [(0, disk.size)]
        pieces = [one for one in listed if one[1]]
        inside = all(min(one) >= 0 and sum(one) <= disk.size for one in pieces)
        if not inside or pieces != sorted(pieces) or not 0 <= disk.size <= MAX_FILE:
            raise DamagedError(f"the tar in it has {disk.name!r} with an impossible size")
        old = stream.first[_MAGIC] == _OLD_GNU
        faults = [] if old else ["the tar in it is not in the format oldgnu"]
        if disk.name != MEMBER:
            faults.append(f"the first member of the tar in it is {disk.name!r}, not {MEMBER}")
        data.seek(disk.offset_data)
        for place, length in pieces:
            image.seek(place)
            write_sparse(data, image, length)
        set_size(image, disk.size)
        if archive.next() is None:
            faults += _end_faults(stream.pieces_from(archive.offset))
        elif disk.name == MEMBER:
            faults.append(f"the tar in it has more than {MEMBER}")
        return faults


def _end_faults(pieces: Iterable[bytes]) -> list[str]:
    """What is wrong with the end of an archive, which is two or more blocks of zeros."""
    length, has_more = 0, False
    for piece in pieces:
        length += len(piece)
        has_more = has_more or any(piece)
    if has_more:
        return ["something follows the last member of the tar in it"]
    return ["the tar in it is cut: its end is missing"] if length < 2 * _TAR_BLOCK else []


def _bytes_read(pid: int) -> int:
    """How many bytes a process has read (proc_pid_io(5)); 0 when it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            key, _, value = line.partition(": ")
            if key == "rchar":
                return int(value)
    return 0
