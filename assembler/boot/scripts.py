"""Follow the scripts of a closure from one to the next, without running any."""

import re
from collections.abc import Iterator

from assembler.errors import HostError, RequestError, reason
from assembler.host.regular import open_file
from assembler.store.paths import STORE, AbsentError, Store, store_path_of

_PATH = re.compile(rf"{STORE}/[0-9a-z]{{32}}-[\w+\-.?=]+(?:/[\w+\-.?=@]+)*", re.ASCII)
_HEAD, _MAX_SCRIPT = 1 << 12, 1 << 22  # bytes
_MAX_FILES = 64  # that are followed from one program to the next


def store_paths(text: str) -> list[str]:
    """The paths in the store that a text names, in its order."""
    return _PATH.findall(text)


def follow_scripts(store: Store, paths: list[str]) -> Iterator[str]:
    """Paths in the store, then the paths that scripts among them name, and so on, each once."""
    pending = [*paths]
    seen: set[str] = set()
    while pending and len(seen) < _MAX_FILES:
        path = pending.pop(0)
        if path not in seen:
            seen.add(path)
            yield path
            pending += store_paths(read_script(store, path))


def read_script(store: Store, path: str, *, whole: bool = False) -> str:
    """The script at a path in the store, links followed; empty if the file is no script.

    Bytes that are not UTF-8 are kept as surrogates. A `whole` file may be a program, too. Raises
    RequestError where that is a link out of the closure, HostError for what cannot be read.
    """
    if store_path_of(path) is None:
        return ""
    try:
        real = store.resolve(path)
        if store_path_of(real) is None or not store.is_file(real):
            return ""
        with open_file(store.host(real)) as file:
            content = file.read(_HEAD)
            if b"\0" in content and not whole:
                return ""
            content += file.read(_MAX_SCRIPT)
    except RequestError as error:
        if whole and not isinstance(error, AbsentError):
            raise
        return ""
    except OSError as error:
        raise HostError(f"cannot read {reason(error)}") from None
    return "" if b"\0" in content and not whole else content.decode(errors="surrogateescape")


def name_without_hash(path: str) -> str:
    """The name of a file, or of a store path without its hash."""
    name = path.rpartition("/")[2]
    return name[33:] if store_path_of(path) == path else name
