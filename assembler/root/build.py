"""Build the Tree from the store paths and the staging directory, with their owners."""

import os
from collections.abc import Mapping
from pathlib import Path

from assembler.root import skeleton
from assembler.store.closure import Closure
from assembler.tree.closure_files import ClosureFiles
from assembler.tree.nar_tree import nar_size
from assembler.tree.scan import Metadata, Scanner
from assembler.tree.tree import Node, Sparse, Tree


def scan_store(tree: Tree, scanner: Scanner, closure: Closure, files: ClosureFiles) -> Closure:
    """Add every store path of the closure; returns the closure with the sizes of all NARs.

    Raises HostError for what cannot be read, RequestError if another size is registered.
    """
    sizes = {}
    for path in closure.paths:
        target = os.fsencode(path)
        if path in files.trees:
            tree.add(target, files.trees[path])
        else:
            scanner.add(str(files.host(path)), target)
        top = tree.get(target)
        assert top is not None
        sizes[path] = nar_size(top)
    return closure.with_sizes(sizes)


def add_staging(tree: Tree, scanner: Scanner, staging: Path, epoch: int) -> None:
    """Add the staging directory; owners and modes are the skeleton's, not the host's."""
    scanner.add(str(staging), b"/", Metadata(mode=0o644, mtime=epoch))
    database = f"{skeleton.DATABASE}/db.sqlite".encode()
    node = tree.get(database)
    if isinstance(node, Node) and isinstance(node.data, Sparse):
        # Its bytes change when the hashes are known: a hole may get data.
        tree.add(database, node._replace(data=node.data.path))
    for place in skeleton.DIRECTORIES:
        set_place(tree, place, epoch)
    for place in skeleton.SOME_DIRECTORIES:
        if tree.get(place.path.encode()) is not None:
            set_place(tree, place, epoch)


def set_place(tree: Tree, place: skeleton.Place, epoch: int) -> None:
    """Make a directory, or set owner and mode of the one that is there."""
    directory = tree.directory(place.path.encode())
    directory.mode, directory.uid, directory.gid = place.mode, place.uid, place.gid
    directory.mtime = epoch


def build_tree(
    tree: Tree,
    scanner: Scanner,
    staging: Path,
    boot_files: Mapping[str, Node],
    epoch: int,
) -> None:
    """Complete a tree that has the store paths already; they take longest to read.

    `staging` is the prepared root, `boot_files` has nodes by their paths, `epoch` is the time of
    everything outside the store.
    """
    add_staging(tree, scanner, staging, epoch)
    for path, node in boot_files.items():
        tree.add(path.encode(), node)
    for place in skeleton.BOOT_DIRECTORIES:
        if any(path.startswith(place.path + "/") for path in boot_files):
            set_place(tree, place, epoch)
