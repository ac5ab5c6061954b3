"""The log of an appliance: what libguestfs, QEMU, the kernel and the programs in it say."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from assembler.errors import HostError, reason
from assembler.host.temporary import temporary_directory


class Logbook:
    """A file that an appliance's words go to; `path` is where."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._launched = 0  # bytes that were there when the last launch began

    def begin_launch(self) -> None:
        """From here on is what `said` gives."""
        with suppress(OSError):
            self._launched = self.path.stat().st_size

    def said(self) -> str:
        """What has been said since the last launch began."""
        with suppress(OSError):  # where TMPDIR is full there may be none
            return self.path.read_bytes()[self._launched :].decode(errors="replace")
        return ""

    def keep(self, message: str) -> str:
        """Put the log, with a last message, where it stays, and say where that is."""
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
