"""Follow links in a store as the image will, and say in few words where they fail."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from assembler.errors import RequestError
from assembler.store.paths import AbsentError, Store


def resolve(store: Store, path: str) -> str:
    """What `path` leads to; raises as `Store.resolve`, with `path` alone where it is absent."""
    try:
        return store.resolve(path)
    except AbsentError:
        fault = store.fault(path)
    if not fault:
        raise RequestError(f"{path} is a link that leads nowhere")
    if fault == os.strerror(errno.ENOENT):
        raise RequestError(f"{path} does not exist")
    raise RequestError(f"{path} cannot be read: {fault}")


def host_tree(store: Store, path: str) -> Path:
    """Where a file or directory lies on this host, for a program that follows the links in it.

    There may be nothing. Raises RequestError where a link in it leads anywhere else on this host
    than in the image.
    """
    host = store.host(path)
    for link in _links(host):
        inside = path + link.removeprefix(str(host))
        try:
            real = store.host(store.resolve(inside))
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
