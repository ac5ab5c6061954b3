"""Follow links in a store, and say in few words where they fail."""

import errno
import os

from assembler.errors import RequestError
from assembler.store.paths import Store


def resolve(store: Store, path: str) -> str:
    """What `path` leads to, as `Store.resolve`, with a message that names `path` alone."""
    try:
        return store.resolve(path)
    except RequestError:
        fault = store.fault(path)
    if not fault:
        raise RequestError(f"{path} is a link that leads nowhere")
    if fault == os.strerror(errno.ENOENT):
        raise RequestError(f"{path} does not exist")
    raise RequestError(f"{path} cannot be read: {fault}")
