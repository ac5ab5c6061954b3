"""Let GRUB's own parser read a configuration: grub-script-check(1), which is beside grub-fstest."""

import re

from assembler.check.grub_reader import GrubReader
from assembler.check.menu import Location
from assembler.host import process

_STATUSES = (*range(-64, 0), 0, 1)
_LIMIT = 30  # seconds; a menu of a thousand generations takes a tenth of one
_LINE = re.compile(r"Syntax error at line (\d+)")
_EMPTY = "contains no commands"
_MAX_CONFIG = 8 << 20  # bytes


def syntax_fault(reader: GrubReader, place: Location) -> str:
    """The syntax error in a configuration that was read before; empty if there is none.

    GRUB itself skips what it does not understand, with the entries in it.
    Raises HostError.
    """
    if place.number is None:
        return ""
    text = reader.read(place.number, place.path, _MAX_CONFIG)
    what = f"checking the syntax of {place.path}"
    done = process.run(["grub-script-check"], what=what, input=text, ok=_STATUSES, limit=_LIMIT)
    printed = done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")
    if not done.returncode or _EMPTY in printed:
        return ""
    line = _LINE.search(printed)
    return f"syntax error in line {line[1]}" if line else "GRUB cannot read it as a script"
