"""Files that belong to another one, and go when that is replaced."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assembler.host.output import hidden_name


@contextmanager
def set_aside(files: Iterable[Path], owner: Path) -> Iterator[None]:
    """Hide `files` while `owner` may be replaced; they come back if it was not, else they go.

    Directories, and names that the file system cannot have, are passed over. A killed run leaves
    the hidden files; the next run for the same `files` removes them. Raises OSError.
    """
    before = _identity(owner)
    hidden = {file: file.with_name(hidden_name(f"{file.name}.old")) for file in files}
    moved = list[Path]()
    try:
        for file, name in hidden.items():
            name.unlink(missing_ok=True)
            if _is_file(file):
                moved.append(file)
                file.rename(name)
        yield
    finally:
        if _identity(owner) == before:
            for file in moved:
                with suppress(FileNotFoundError):  # a signal came before it was renamed
                    hidden[file].rename(file)
        for name in hidden.values():
            name.unlink(missing_ok=True)


def _is_file(path: Path) -> bool:
    """Whether there is anything but a directory at a path."""
    try:
        return not stat.S_ISDIR(path.lstat().st_mode)
    except OSError:  # it is absent, or its name is too long for any file
        return False


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
