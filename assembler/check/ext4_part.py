"""Let e2fsck read an ext4.

Its exit status alone is not enough: e2fsck accepts some faults that Linux does not accept, such as
the checksum of a group descriptor (Linux, fs/ext4/super.c, ext4_check_descriptors). So every line
that it prints, beside its headings and its summary, is a fault.
"""

import re
import struct
from dataclasses import replace
from pathlib import Path

from assembler.check.part import Part, time_limit
from assembler.errors import TooSlowError
from assembler.filesystems.ext4.kind import EXT4
from assembler.host import process
from assembler.units import MIB

_STATUSES = (*range(-64, 0), *range(16))  # e2fsck(8); a damaged file system may kill it
_TOTALS = re.compile(r": (\d+)/(\d+) files \(.*\), (\d+)/(\d+) blocks")
_EXPECTED = re.compile(
    r"e2fsck \S+ \(.*\)|Pass \d: .*|.*: \d+/\d+ files \(.*\), \d+/\d+ blocks|\s*"
)
# In the superblock, ext4/super.rst in Linux: seconds in 32 bits, and above them in 8 bits more.
_TIMES = ((0x2C, 0x275), (0x30, 0x274), (0x40, 0x277))  # mounted, written, checked
_SUPERBLOCK, _SUPERBLOCK_SIZE = 1024, 1024  # where it is, and its bytes
_BLOCK_SIZE_AT = 0x18  # s_log_block_size
_SECONDS, _RATE = 60, 16 * MIB


def check_ext4(image: Path, part: Part) -> Part:
    """Let e2fsck read the whole structure."""
    part = replace(part, kind=EXT4.name)
    with image.open("rb") as file:
        file.seek(part.start + _SUPERBLOCK)
        superblock = file.read(_SUPERBLOCK_SIZE).ljust(_SUPERBLOCK_SIZE, b"\0")
    try:
        done = process.run(
            ["e2fsck", "-fn", f"{image}?offset={part.start}"],
            what="checking ext4",
            # A time in the future is no fault: images may be made with any.
            env={"E2FSCK_TIME": str(_latest(superblock) + 1)},
            ok=_STATUSES,
            limit=time_limit(_SECONDS, part.size, _RATE),
        )
    except TooSlowError as error:
        return replace(part, fault=str(error).splitlines()[0])
    printed = (done.stdout + done.stderr).decode(errors="backslashreplace")
    printed = printed.replace(str(image), image.name)  # which may have any character in it
    totals = _TOTALS.search(printed)
    complaint = next((line for line in printed.splitlines() if not _EXPECTED.fullmatch(line)), "")
    if done.returncode or totals is None:
        return replace(part, fault=f"e2fsck: {complaint.strip() or _silent(done.returncode)}")
    inodes, _all_inodes, blocks, all_blocks = (int(number) for number in totals.groups())
    # Linux supports no larger blocks than 64 KiB.
    block_size = 1024 << min(struct.unpack_from("<I", superblock, _BLOCK_SIZE_AT)[0], 6)
    # For an ext4 that is cut off, e2fsck prints a question whether to go on, and no fault.
    if (over := all_blocks * block_size - part.size) > 0:
        return replace(part, fault=f"the ext4 goes {over} bytes beyond its end")
    if complaint:
        return replace(part, fault=f"e2fsck: {complaint.strip()}")
    free = (all_blocks - blocks) * block_size
    return replace(part, content=f"ext4, {inodes:,} inodes", inodes=inodes, free=free)


def _latest(superblock: bytes) -> int:
    """The latest time that a superblock names, in seconds since 1970."""
    return max(
        int(struct.unpack_from("<I", superblock, low)[0]) + (superblock[high] << 32)
        for low, high in _TIMES
    )


def _silent(status: int) -> str:
    return f"it was killed by signal {-status}" if status < 0 else "it failed without a word"
