"""Compare a partition table with what libparted reads: it had no part in writing the table."""

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from assembler.check import libparted_reader
from assembler.check.part import Part
from assembler.errors import HostError
from assembler.host import process
from assembler.units import SECTOR

_BINDING = "_ped"
_LABELS = {"gpt": "gpt", "dos": "msdos"}  # libfdisk's names, and libparted's
_STATUSES = (*range(-64, 0), 0, 1)  # a damaged table may kill libparted
_LIMIT = 60  # seconds


def problems() -> list[str]:
    """One line if libparted's Python binding is missing."""
    if importlib.util.find_spec(_BINDING) is None:
        return [
            "libparted's Python binding is not installed: it is in the package python3-parted "
            "(Debian) or python3Packages.pyparted (nixpkgs)"
        ]
    return []


def table_faults(image: Path, kind: str, parts: Sequence[Part]) -> list[str]:
    """One line if libparted reads another table than one of `kind`, gpt or dos, with `parts`.

    Only for sectors of 512 bytes: in a file, libparted supports no others. Raises HostError.
    """
    found = importlib.util.find_spec(_BINDING)
    if found is None or found.origin is None:
        raise HostError(*problems())
    done = process.run(
        [sys.executable, "-I", libparted_reader.__file__, Path(found.origin).parent, image],
        what="reading the partition table with libparted",
        ok=_STATUSES,
        limit=_LIMIT,
    )
    if not done.stdout:
        raise HostError(
            "libparted cannot be loaded, which reads the partition table back (Debian's needs "
            "/bin/sh for it): the command python3 -c 'import _ped' tells more"
        )
    if done.returncode:
        return ["libparted does not survive it"]
    table = json.loads(done.stdout)
    if "error" in table:
        return [f"libparted cannot read it: {table['error']}"]
    if table["label"] != _LABELS.get(kind):
        return [f"libparted reads a table of type {table['label']}"]
    ours = sorted((part.number, part.start, part.size) for part in parts)
    theirs = sorted((n, start * SECTOR, length * SECTOR) for n, start, length in table["parts"])
    if ours != theirs:
        return [f"libparted reads other partitions: {_words(theirs)}, not {_words(ours)}"]
    return []


def _words(places: Sequence[tuple[int, int, int]]) -> str:
    return ", ".join(f"{n} ({size} bytes at {start})" for n, start, size in places) or "none"
