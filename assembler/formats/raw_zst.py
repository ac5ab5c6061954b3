"""The raw image, compressed with zstd."""

from assembler.formats.compressed import Compressed


class RawZst(Compressed):
    """One frame, in whose header the size is."""

    name = "raw.zst"
    title = "raw, compressed with zstd"
    endings = ("zst", "zstd")
    programs = ("zstd",)
    marks = ((0, b"\x28\xb5\x2f\xfd"),)
    argv = ("zstd", "-q", "-c", "-T{threads}", "--stream-size={size}")
