"""Files of the closure that GRUB's menu shows: fonts, pictures and themes."""

import os
from collections.abc import Iterator

from assembler.boot.boot_file import BootFile
from assembler.boot.lookup import target_of
from assembler.errors import HostError, RequestError, reason
from assembler.store.paths import Store

_MAX_FILES = 10_000  # in a theme; the largest known has some hundreds
_MAX_DEPTH = 50  # directories in each other


def find_theme(store: Store, path: str) -> tuple[BootFile, ...]:
    """All files below a directory, by their paths in it and sorted by these; raises RequestError.

    Links are followed, to directories as well: on a FAT there are none.
    """
    if store.is_file(target_of(store, path)):
        raise RequestError(f"{path} is not a directory")
    try:
        return tuple(sorted(_walk(store, path, "", (), []), key=lambda file: file.path))
    except OSError as error:
        raise HostError(f"cannot read {reason(error)}") from None


def _walk(
    store: Store, path: str, name: str, above: tuple[str, ...], seen: list[str]
) -> Iterator[BootFile]:
    """The files at or below `path`, which has the `name` below the first.

    `above` are the directories around `path`; every path found is added to `seen`.
    """
    real = target_of(store, path)
    seen.append(real)
    if len(seen) > _MAX_FILES or len(above) > _MAX_DEPTH:  # links can make few directories many
        raise RequestError(f"{seen[0]} has more than {_MAX_FILES} files, or is too deep")
    if store.is_file(real):
        host = store.host(real)
        yield BootFile(name, host, host.stat().st_mode & 0o777)
        return
    if real in above:
        raise RequestError(f"{path} leads to a directory above it")
    for entry in os.listdir(store.host(real)):
        below = f"{name}/{entry}" if name else entry
        yield from _walk(store, f"{real}/{entry}", below, (*above, real), seen)
