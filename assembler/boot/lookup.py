"""Follow links in a store as the image will, with short messages for broken ones."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from assembler.errors import RequestError
from assembler.store.paths import AbsentError, Store


def target_of(store: Store, path: str) -> str:
    """The path that `path` leads to; raises as `Store.resolve`, with a short message if absent."""
    try:
        return store.resolve(path)
    except AbsentError:
        fault = store.fault(path)
    if not fault:
        raise RequestError(f"{path} is a link that leads nowhere")
    if fault == os.strerror(errno.ENOENT):
        raise RequestError(f"{path} does not exist")
    raise RequestError(f"{path} cannot be read: {fault}")


def find_file(store: Store, path: str) -> str:
    """The file that `path` leads to; raises RequestError where the closure has none."""
    real = target_of(store, path)
    if not store.is_file(real):
        raise RequestError(f"{path} is not a file")
    return real


def optional_file(store: Store, path: str) -> str | None:
    """The file that `path` leads to, None where the closure has none.

    Raises RequestError where a link leads out of the closure.
    """
    try:
        real = store.resolve(path)
    except AbsentError:
        return None
    return real if store.is_file(real) else None


def exists(store: Store, path: str) -> bool:
    """Whether the closure has something at a path, links followed.

    Raises RequestError where a link leads out of the closure.
    """
    try:
        return not store.fault(store.resolve(path))
    except AbsentError:
        return False


def host_tree(store: Store, path: str) -> Path:
    """Where a file or directory lies on this host, for a program that follows the links in it.

    Nothing need be there. Raises RequestError if a link in it leads to one place on this host
    and to another in the image.
    """
    host = store.host(path)
    for link in _links(host):
        inside = path + link.removeprefix(str(host))
        try:
            real = store.find(inside)
        except AbsentError:
            if not os.path.exists(link):
                continue
            real = host
        if os.path.realpath(link) != os.path.realpath(real):
            raise RequestError(f"{inside} should be a file, not a symlink to another store path")
    return host


def _links(top: Path) -> Iterator[str]:
    """All symlinks at or below a path of this host."""
    pending = [str(top)]
    while pending:
        here = pending.pop()
        if os.path.islink(here):
            yield here
        elif os.path.isdir(here):
            pending += (os.path.join(here, name) for name in os.listdir(here))
