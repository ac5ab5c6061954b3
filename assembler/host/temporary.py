"""The directory for temporary files."""

import os
from pathlib import Path

from assembler.errors import HostError, RequestError, reason


def temporary_directory() -> Path:
    """TMPDIR, or else /tmp, absolute and without links, as Nix requires.

    Raises HostError if it is not a writable directory, and RequestError for a name with a `?` or an
    `@`: e2fsprogs reads options after the first, mtools an offset after the second.
    """
    given = os.environ.get("TMPDIR") or "/tmp"
    try:
        path = Path(os.path.realpath(given))
    except OSError as error:  # it is relative, and the working directory no longer exists
        raise HostError(f"TMPDIR {given}: {reason(error)}") from None
    if not set(str(path)).isdisjoint("?@"):
        raise RequestError(
            f"TMPDIR {given}: e2fsck and mtools cannot use a path with ? or @ in it: set TMPDIR to "
            "another directory"
        )
    if os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK):
        return path
    fault = "may not be written to" if os.path.isdir(path) else "is not a directory"
    raise HostError(f"TMPDIR {given} {fault}: set TMPDIR to a directory that you may write to")
