"""The raw image, compressed with xz."""

from assembler.formats.compressed import Compressed


class RawXz(Compressed):
    """In blocks, so that all processors work."""

    name = "raw.xz"
    title = "raw, compressed with xz"
    endings = ("xz",)
    programs = ("xz",)
    argv = ("xz", "-q", "-c", "-T{threads}")
