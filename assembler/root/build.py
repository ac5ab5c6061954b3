"""Build the Tree out of the store paths and the staging directory, with their owners."""

import os
from collections.abc import Mapping
from pathlib import Path

from assembler.root import skeleton
from assembler.root.scan import Metadata, Scanner
from assembler.root.tree import Tree, regular
from assembler.store.closure import Closure
from assembler.store.paths import StoreRoot


def scan_store(scanner: Scanner, closure: Closure, store: StoreRoot) -> None:
    """Add every store path of the closure; raises HostError for what cannot be read."""
    for path in closure.paths:
        scanner.add(str(store.host(path)), os.fsencode(path))


def add_staging(tree: Tree, scanner: Scanner, staging: Path, epoch: int) -> None:
    """Add what prepare_root made; owners and modes are the skeleton's, not the host's."""
    scanner.add(str(staging), b"/", Metadata(mode=0o644, mtime=epoch))
    for place in skeleton.DIRECTORIES:
        set_place(tree, place, epoch)
    for place in (*skeleton.CHANNEL_DIRECTORIES, *skeleton.CONFIGURATION_DIRECTORIES):
        if tree.get(place.path.encode()) is not None:
            set_place(tree, place, epoch)


def set_place(tree: Tree, place: skeleton.Place, epoch: int) -> None:
    """Make a directory, or give the one that is there the owner and mode named."""
    directory = tree.directory(place.path.encode())
    directory.mode, directory.uid, directory.gid = place.mode, place.uid, place.gid
    directory.mtime = epoch


def build_tree(
    tree: Tree,
    scanner: Scanner,
    staging: Path,
    boot_files: Mapping[str, bytes],
    epoch: int,
) -> None:
    """Complete a tree that holds the store paths already; they take longest to read.

    `staging` is what prepare_root made, `boot_files` are path → content, `epoch` is the time of
    all that is not in the store.
    """
    add_staging(tree, scanner, staging, epoch)
    for path, content in boot_files.items():
        tree.add(path.encode(), regular(content, mtime=epoch))
    for place in skeleton.BOOT_DIRECTORIES:
        if any(path.startswith(place.path + "/") for path in boot_files):
            set_place(tree, place, epoch)
