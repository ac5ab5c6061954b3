"""QCOW2 whose clusters are compressed with zlib, which every reader of the format supports."""

from assembler.formats.qcow2 import Qcow2


class CompressedQcow2(Qcow2):
    """A QCOW2 that is smaller, and slower to write."""

    name = "qcow2-compressed"
    title = "QCOW2, compressed"
    options = ("-c",)
    compresses = True
