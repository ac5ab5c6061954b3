"""From what a user names to a store path: `./result`, a profile, or the path itself.

Links are followed one by one until one leads to a store path, as Store::followLinksToStore in Nix's
src/libstore/store-api.cc does. A store path that is a link is taken for what it is.
"""

import os

from assembler.store.paths import STORE, StoreRoot, is_store_path, store_path_of

_MAX_LINKS = 64


def to_store_path(path: str, store: StoreRoot) -> str:
    """The store path that `path` is or leads to; else `path` itself: `link_fault` tells why.

    Where a store lies in a directory, what is there comes before what the host has.
    """
    ends = _trail(path, store)[-1]
    return ends if is_store_path(ends) else path


def link_fault(path: str, store: StoreRoot) -> str:
    """Why `path` is no store path and leads to none; empty where it does."""
    *before, ends = _trail(path, store)
    if is_store_path(ends):
        return ""
    if not path:
        return "it is empty"
    if len(before) == _MAX_LINKS:
        return "it is a link that leads back to itself"
    leads = f"it leads to {ends}, which" if before else "it"
    if top := store_path_of(ends):
        return f"{leads} lies below one: {top}"
    if os.path.lexists(_host(ends, store)) or ends.startswith(f"{STORE}/"):
        return f"{leads} should be /nix/store/<hash>-<name>, or a link to one"
    return f"{leads} does not exist"


def _trail(path: str, store: StoreRoot) -> list[str]:
    """A path and what it leads to, link by link; paths in the store's directory are without it."""
    trail = [_placed(os.path.abspath(path), store)] if path else [""]
    while len(trail) <= _MAX_LINKS and not is_store_path(trail[-1]):
        here = _host(trail[-1], store)
        if not os.path.islink(here):
            break
        above = os.path.realpath(os.path.dirname(here))
        trail.append(_placed(os.path.normpath(os.path.join(above, os.readlink(here))), store))
    return trail


def _placed(path: str, store: StoreRoot) -> str:
    """The path as the machine will see it, where it lies in the store's directory."""
    for root in (os.fspath(store.root), os.path.realpath(store.root)):
        if root != "/" and path.startswith(f"{root}/"):
            return path.removeprefix(root)
    return path


def _host(path: str, store: StoreRoot) -> str:
    """Where on this host a path of the trail is."""
    inside = os.fspath(store.host(path))
    return inside if os.path.lexists(inside) else path
