"""Find the store path that a user means: by `./result`, a profile, or the path itself.

Links are followed one by one until one leads to a store path, as Store::followLinksToStore in Nix's
src/libstore/store-api.cc does. A store path that is itself a link is not followed.
"""

import os

from assembler.store.paths import MAX_LINKS, STORE, StoreRoot, is_store_path, store_path_of


def to_store_path(path: str, store: StoreRoot) -> str:
    """The store path that `path` is or leads to; else `path` itself: `link_fault` gives the reason.

    If the store is in a directory, a path in that directory comes before the same path of the host.
    """
    ends = _trail(path, store)[-1]
    return ends if is_store_path(ends) else path


def link_fault(path: str, store: StoreRoot) -> str:
    """Why `path` neither is nor leads to a store path; empty if it does."""
    *before, ends = _trail(path, store)
    if is_store_path(ends):
        return ""
    if not path:
        return "it is empty"
    if len(before) == MAX_LINKS:
        return "it is a link that leads back to itself"
    leads = f"it leads to {ends}, which" if before else "it"
    if top := store_path_of(ends):
        return f"{leads} lies below one: {top}"
    if os.path.lexists(_host(ends, store)) or ends.startswith(f"{STORE}/"):
        return f"{leads} should be /nix/store/<hash>-<name>, or a link to one"
    return f"{leads} does not exist"


def _trail(path: str, store: StoreRoot) -> list[str]:
    """A path and its targets, link by link; paths in the store's directory are without it."""
    trail = [_placed(os.path.abspath(path), store)] if path else [""]
    while len(trail) <= MAX_LINKS and not is_store_path(trail[-1]):
        here = _host(trail[-1], store)
        if not os.path.islink(here):
            break
        above = os.path.realpath(os.path.dirname(here))
        trail.append(_placed(os.path.normpath(os.path.join(above, os.readlink(here))), store))
    return trail


def _placed(path: str, store: StoreRoot) -> str:
    """The path as the machine will see it, if it is in the store's directory."""
    for root in (os.fspath(store.root), os.path.realpath(store.root)):
        if root != "/" and path.startswith(f"{root}/"):
            return path.removeprefix(root)
    return path


def _host(path: str, store: StoreRoot) -> str:
    """Where on this host a path of the trail is."""
    inside = os.fspath(store.host(path))
    return inside if os.path.lexists(inside) else path
