"""The raw image, compressed with xz."""

from assembler.formats.compressed import Compressed


class RawXz(Compressed):
    """In blocks, so that all processors work."""

    name = "raw.xz"
    title = "raw, compressed with xz"
    endings = ("xz",)
    programs = ("xz",)
    marks = ((0, b"\xfd7zXZ\0"),)
    argv = ("xz", "-q", "-c", "-T{threads}")
