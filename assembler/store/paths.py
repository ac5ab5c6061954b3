"""Store paths, and where on this host their files lie."""

import errno
import os
import posixpath
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from assembler.errors import RequestError, reason
from assembler.host.regular import read_file

STORE = "/nix/store"
_ABOVE_STORE = ("/nix", STORE)  # directories of every image

# Nix's base-32 alphabet leaves out e, o, t and u; names follow `checkName` in Nix's
# src/libstore/path.cc.
_STORE_PATH = re.compile(r"/nix/store/[0-9a-df-np-sv-z]{32}-[0-9A-Za-z+\-._?=]{1,211}")
MAX_LINKS = 64


def is_store_path(path: str) -> bool:
    """Whether `path` is a store path itself: `/nix/store/<hash>-<name>`, nothing below it."""
    return _STORE_PATH.fullmatch(path) is not None


def store_path_of(path: str) -> str | None:
    """The store path that `path` is or lies in, or None when it is outside the store."""
    match = _STORE_PATH.match(path)
    if match is None or path[match.end() : match.end() + 1] not in ("", "/"):
        return None
    return match[0]


class AbsentError(RequestError):
    """There is nothing at a path: it, or what a link on the way leads to, does not exist."""


class Store(Protocol):
    """Gives access to the files of store paths. Paths are absolute paths in the image."""

    def contains(self, path: str) -> bool:
        """Whether the files of a store path may be read: those outside the closure may not."""

    def link(self, path: str) -> str | None:
        """The target of the symlink at `path`, None for something else; raises OSError."""

    def fault(self, path: str) -> str:
        """Why `path` cannot be read, without following it as a link; empty if it can."""

    def host(self, path: str) -> Path:
        """Where `path` lies on this host; the last link is not followed."""

    def resolve(self, path: str) -> str:
        """Follow every symlink as the image will see it.

        Raises AbsentError if nothing is there, RequestError if a link leads out of the closure,
        since other files of this host are not read.
        """
        return resolve_in_store(self, path)

    def is_file(self, path: str) -> bool:
        """Whether there is a regular file at `path`, no link followed."""

    def find(self, path: str) -> Path:
        """Where on this host the target of `path` is; raises as `resolve`."""
        return self.host(self.resolve(path))

    def read(self, path: str) -> bytes:
        """The content of the file that `path` leads to; raises as `resolve`, and OSError."""
        return read_file(self.find(path))


def inside(root: Path, path: str) -> Path:
    """Where the image's absolute `path` lies below the directory `root`."""
    return root / path.lstrip("/")


@dataclass(frozen=True, slots=True)
class StoreRoot(Store):
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

    def contains(self, _path: str) -> bool:
        """Whether the files of a store path may be read: here all may."""
        return True

    def host(self, path: str) -> Path:
        """Where the image's absolute `path` lies on this host; the last link is not followed."""
        return inside(self.root, path)

    def fault(self, path: str) -> str:
        """Why `path` cannot be read; empty if it can."""
        try:
            self.host(path).lstat()
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def is_file(self, path: str) -> bool:
        """Whether there is a regular file at `path`, no link followed."""
        return os.path.isfile(self.host(path)) and not os.path.islink(self.host(path))

    def link(self, path: str) -> str | None:
        """The target of the symlink at `path`, None for something else; raises OSError."""
        try:
            return os.readlink(self.host(path))
        except OSError as error:
            if error.errno == errno.EINVAL:
                return None
            raise


def resolve_in_store(store: Store, path: str) -> str:
    """Follow every symlink of an absolute `path` in the store paths that `store` may read.

    Raises as `Store.resolve`.
    """
    real = follow_links(path, store.link, partial(_fault, store.contains))
    if store_path_of(real) is None:
        raise RequestError(f"{path} leads to {real}, which is not in a store path")
    return real


def locate_named(store: Store, path: str) -> Path:
    """Where on this host a path is that a user names.

    Follows links as the image will; `path` itself is followed only to a directory. From a path of
    the closure, links may lead only to paths of the closure. There may be nothing at the place.
    Raises RequestError.
    """
    here = locate_link(store, path)
    with suppress(RequestError):  # a link that leads anywhere else is not followed
        real = follow_links(here, store.link, partial(_fault, _reach(store, path)))
        if store_path_of(real) is not None and not store.is_file(real):
            return store.host(real)
    return store.host(here)


def locate_link(store: Store, path: str) -> str:
    """A path that a user names, after following the links on the way but not the path itself.

    Raises RequestError.
    """
    above, _, name = posixpath.normpath(path).rpartition("/")
    with suppress(AbsentError):
        return f"{follow_links(above, store.link, partial(_fault, _reach(store, path)))}/{name}"
    return path


def _reach(store: Store, path: str) -> Callable[[str], bool]:
    """Whether links may lead to a store path, when they start at a path that a user names.

    From a path of the closure they may lead into the closure, from any other into the store.
    """
    top = store_path_of(path)
    return store.contains if top is not None and store.contains(top) else lambda _path: True


def _fault(contains: Callable[[str], bool], path: str) -> str:
    """Why an absolute path without links must not be read; empty if it may."""
    top = store_path_of(path)
    if top is None:
        return "" if path in _ABOVE_STORE else f"outside {STORE}"
    return "" if contains(top) else "not in the closure"


def follow_links(path: str, link: Callable[[str], str | None], fault: Callable[[str], str]) -> str:
    """Follow every symlink of an absolute `path`.

    `link` returns the target of a link, and None for anything else. `fault` is called first, for
    every path on the way: it returns why the path must not be read, or an empty string. Raises
    AbsentError when something on the way is absent (`link` raises OSError) or when links lead back
    to themselves, RequestError when `fault` returns a reason.
    """
    pending = [part for part in reversed(path.split("/")) if part]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part in (".", ".."):
            done = done[:-1] if part == ".." else done
            continue
        here = "/" + "/".join([*done, part])
        if why := fault(here):
            whole = "/".join([here, *reversed(pending)])
            raise RequestError(f"{path} {f'leads to {whole}, which is' if links else 'is'} {why}")
        try:
            target = None if here in _ABOVE_STORE else link(here)
        except OSError as error:
            raise AbsentError(f"{path} does not exist: {reason(error)}") from None
        except ValueError:  # a NUL, or a surrogate that stands for no byte
            raise AbsentError(f"{path!r} is no file name") from None
        if target is None:
            done.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise AbsentError(f"{path}: too many levels of symbolic links")
        if target.startswith("/"):
            done = []
        pending += [piece for piece in reversed(target.split("/")) if piece]
    return "/" + "/".join(done)
