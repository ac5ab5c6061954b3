"""QCOW2: QEMU's own format, plain or with compressed clusters."""

from typing import BinaryIO

from assembler.formats.format import Disk
from assembler.formats.qemu_img import QemuFormat


class Qcow2(QemuFormat):
    """Compat 1.1, clusters of 64 KiB. It holds nothing that differs from run to run."""

    name = "qcow2"
    title = "QCOW2"
    endings = ("qcow2",)
    driver = "qcow2"
    marks = ((0, b"QFI\xfb"),)

    def fix(self, file: BinaryIO, disk: Disk) -> None:
        """Leave it: qemu-img draws nothing."""
