"""Store paths, and where on this host their files lie."""

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from assembler.errors import RequestError, reason

STORE = "/nix/store"

# Nix's base-32 alphabet leaves out e, o, t and u; names follow `checkName` in Nix's
# src/libstore/path.cc.
_STORE_PATH = re.compile(r"/nix/store/[0-9a-df-np-sv-z]{32}-[0-9A-Za-z+\-._?=]{1,211}")
_MAX_LINKS = 64


def is_store_path(path: str) -> bool:
    """Whether `path` is a store path itself: `/nix/store/<hash>-<name>`, nothing below it."""
    return _STORE_PATH.fullmatch(path) is not None


def store_path_of(path: str) -> str | None:
    """The store path that `path` is or lies in, or None when it is outside the store."""
    match = _STORE_PATH.match(path)
    if match is None or path[match.end() : match.end() + 1] not in ("", "/"):
        return None
    return match[0]


class Store(Protocol):
    """Where the files of store paths can be looked at. Paths are the image's, absolute."""

    def fault(self, path: str) -> str:
        """Why nothing can be read at `path`, its last link not followed; empty when it can."""

    def host(self, path: str) -> Path:
        """Where `path` lies on this host; the last link is not followed."""

    def resolve(self, path: str) -> str:
        """Follow every symlink as the image will see it; raises RequestError."""

    def is_file(self, path: str) -> bool:
        """Whether there is a regular file at `path`, no link followed."""


@dataclass(frozen=True, slots=True)
class StoreRoot:
    """A directory that stands for `/`: the files of `/nix/store` lie in `<root>/nix/store`.

    `Path("/")` is the host's own store; another directory is what Nix calls
    `local?root=DIR`.
    """

    root: Path = Path("/")

    @property
    def uri(self) -> str:
        """The store as Nix's `--store` takes it; the host's own is the one NIX_REMOTE names."""
        if self.root == Path("/"):
            return os.environ.get("NIX_REMOTE") or "auto"
        return f"local?root={quote(os.fsencode(self.root))}"

    def host(self, path: str) -> Path:
        """Where the image's absolute `path` lies on this host; the last link is not followed."""
        return self.root / path.lstrip("/")

    def fault(self, path: str) -> str:
        """Why nothing can be read at `path`; empty when it can."""
        try:
            self.host(path).lstat()
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def is_file(self, path: str) -> bool:
        """Whether there is a regular file at `path`, no link followed."""
        return os.path.isfile(self.host(path)) and not os.path.islink(self.host(path))

    def link(self, path: str) -> str | None:
        """The target of the symlink at `path`, None where something else is; raises OSError."""
        try:
            return os.readlink(self.host(path))
        except OSError as error:
            if error.errno == errno.EINVAL:
                return None
            raise

    def resolve(self, path: str) -> str:
        """Follow every symlink of an absolute `path` as the image will see it.

        Links into `/nix/store` are followed below this root, not on the host. Raises
        RequestError when something on the way is absent or the links go round.
        """
        return follow(path, self.link)


def locate(store: Store, path: str) -> Path:
    """Where on this host the image's `path` lies, with links followed as the image will.

    A last link is followed only to a directory of the store. There may be nothing.
    """
    with suppress(RequestError):
        real = store.resolve(path)
        if store_path_of(real) is not None and not store.is_file(real):
            return store.host(real)
    above, _, name = path.rpartition("/")
    with suppress(RequestError):
        return store.host(f"{store.resolve(above)}/{name}")
    return store.host(path)


def follow(path: str, link: Callable[[str], str | None]) -> str:
    """Follow every symlink of an absolute `path`; `link` gives the target of one, else None.

    Raises RequestError when something on the way is absent (`link` raises OSError) or the links
    go round.
    """
    pending = [part for part in reversed(path.split("/")) if part]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part in (".", ".."):
            done = done[:-1] if part == ".." else done
            continue
        try:
            target = link("/" + "/".join([*done, part]))
        except OSError as error:
            raise RequestError(f"{path} does not exist: {reason(error)}") from None
        except ValueError:  # a NUL, or a surrogate that stands for no byte
            raise RequestError(f"{path!r} is no file name") from None
        if target is None:
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise RequestError(f"{path}: too many levels of symbolic links")
        if target.startswith("/"):
            done = []
        pending += [piece for piece in reversed(target.split("/")) if piece]
    return "/" + "/".join(done)
