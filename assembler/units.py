"""Sizes as people write and read them, and the units that disks are counted in."""

import math
import re
from fractions import Fraction

SECTOR = 512  # bytes in a logical block address (LBA)
SECTOR_SIZES = (SECTOR, 4096)  # bytes in a logical block of the disks that exist
BLOCK = 4096  # bytes in an ext4 block, as this tool makes them
NAME_MAX = 255  # bytes of a file's name: linux/limits.h
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
GB = 1000**3

_FACTORS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}
_MAX_SIZE = (1 << 63) - 1  # bytes: off_t


def parse_size(text: str) -> int:
    """Read `N[KMGT]` (powers of 1024) as bytes; raises ValueError naming what was given.

    N may have a fraction, as in 1.5G. Part of a byte is one more, as with numfmt(1).
    """
    flags = re.IGNORECASE | re.ASCII  # without ASCII, K is also U+212A
    match = re.fullmatch(r"([0-9]{1,40}(?:\.[0-9]{1,40})?)([KMGT]?)(?:i?B)?", text.strip(), flags)
    if match is None:
        raise ValueError(f"{text!r} is not a size: write a number of bytes, or N with K, M, G or T")
    size = math.ceil(Fraction(match[1]) * _FACTORS[match[2].upper()])
    if size > _MAX_SIZE:
        raise ValueError(f"{text!r} is more than any file can hold")
    return size


def format_size(size: int) -> str:
    """Write bytes as B, KiB, MiB, GiB or TiB, whichever keeps the number short."""
    for factor, unit in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def write_size(size: int) -> str:
    """Write bytes as `parse_size` reads them, with the largest unit that keeps them exact."""
    for unit in ("T", "G", "M", "K"):
        if size and size % _FACTORS[unit] == 0:
            return f"{size // _FACTORS[unit]}{unit}"
    return str(size)


def unit_words(unit: int) -> str:
    """What a size is a whole number of, in a message: GiB for 1 GiB."""
    return format_size(unit).removeprefix("1.0 ")


def exact_sizes(*sizes: int) -> list[str]:
    """Sizes that are compared in a message; in bytes, too, where short words hide a difference.

    In GB (10⁹ bytes) if one is a whole number of those, as the limits of some clouds are.
    """
    decimal = any(size and size % GB == 0 for size in sizes)
    words = [f"{size / GB:.1f} GB" if decimal else format_size(size) for size in sizes]
    if len({*words}) == len({*sizes}):
        return words
    return [f"{word} ({size} bytes)" for word, size in zip(words, sizes, strict=True)]


def ceil_div(number: int, divisor: int) -> int:
    """Divide rounding up."""
    return -(-number // divisor)


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple that is at least `number`."""
    return ceil_div(number, multiple) * multiple
