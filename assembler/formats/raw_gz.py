"""The raw image, compressed with gzip."""

from assembler.formats.compressed import Compressed


class RawGz(Compressed):
    """Made by pigz, which uses all processors; without a name and a time."""

    name = "raw.gz"
    title = "raw, compressed with gzip"
    endings = ("gz",)
    programs = ("pigz",)
    marks = ((0, b"\x1f\x8b\x08"),)
    argv = ("pigz", "-n", "-c", "-p", "{threads}")
