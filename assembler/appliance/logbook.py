"""The log of an appliance: the output of libguestfs, QEMU, the kernel and the programs in it."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from assembler.errors import HostError, reason
from assembler.host.temporary import temporary_directory


class Logbook:
    """The file `path`, to which an appliance writes its output."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._launched = 0  # bytes that were there when the last launch began

    def begin_launch(self) -> None:
        """Let `text` begin here."""
        with suppress(OSError):
            self._launched = self.path.stat().st_size

    def text(self) -> str:
        """The output since the last launch began."""
        with suppress(OSError):  # if TMPDIR is full there may be none
            return self.path.read_bytes()[self._launched :].decode(errors="replace")
        return ""

    def keep(self, message: str) -> str:
        """Move the log, with a last message, to where it stays; returns the place in words."""
        try:
            with self.path.open("a") as file:
                file.write(f"\n{message}\n")
            handle, name = tempfile.mkstemp(".log", "assemble-appliance-", temporary_directory())
            os.close(handle)
            shutil.copyfile(self.path, name)
        except HostError as error:
            return f"its log could not be kept: {error}"
        except OSError as error:
            return f"its log could not be kept: {reason(error)}"
        return f"its log is {name}"
