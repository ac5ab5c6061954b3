"""A file system that is a store, without the root of a system around it.

A machine mounts it at /nix/store. There is no Nix database in it, which belongs beside the store.
"""

from collections.abc import Sequence
from pathlib import Path

from assembler.errors import Message, Setting
from assembler.root.build import set_place
from assembler.root.skeleton import DIRECTORIES, RootRequest
from assembler.store.paths import STORE
from assembler.tree.tree import Tree

LABEL = "nix-store"  # as in nixpkgs' make-disk-image
_NO_LOADER = "none"


def store_only_problems(
    root: RootRequest, contents: Path | None, subvolumes: Sequence[object], loader: str
) -> list[str]:
    """One line for each thing that is asked for and has no place in a store."""
    asked = {
        "contents": contents is not None,
        "configuration": root.configuration is not None,
        "channel": root.channel is not None,
        "generations": bool(root.generations),
        "subvolumes": bool(subvolumes),
    }
    why, alone = " has no place in an image of the store alone: leave it out, or ", "store_only"
    lines: list[str] = [
        Message(Setting(name), why, Setting(alone)) for name, given in asked.items() if given
    ]
    if loader != _NO_LOADER:
        start = " starts no image of the store alone: take "
        none = Setting("boot_loader", _NO_LOADER)
        lines.append(Message(Setting("boot_loader", loader), start, none))
    return lines


def keep_store(tree: Tree, epoch: int) -> None:
    """Let the directory of the store paths be the root of a tree; `epoch` is its time."""
    for place in DIRECTORIES:
        if place.path == STORE:
            set_place(tree, place, epoch)
    tree.keep_store()
