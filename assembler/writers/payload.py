"""The disks that a Tree travels on into an appliance: tar archives to unpack there."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from assembler.progress import Step
from assembler.root.tree import Directory, Tree
from assembler.writers.archive import Archive
from assembler.writers.lanes import share_out


def write_payload(directory: Path, tree: Tree, lanes: int, step: Step) -> list[Path]:
    """Write a Tree into archives, new files in `directory`; raises HostError.

    All but the last are to be unpacked first, side by side: at most `lanes`, with about the same
    work in each. The last one has what joins them: further names of files, and once more the
    directories that got entries after their times had been set.
    """
    shared_out = share_out(tree, lanes)
    first_names: dict[int, bytes] = {}  # hard-link group → the name that is unpacked as a file
    links = []
    late = {_relative(path): shared for path, shared in shared_out.shared}
    archives = []
    for number, root in enumerate(shared_out.roots):
        archives.append(directory / f"lane-{number}")
        with Archive(archives[-1], step) as archive:
            for path, holder in _directories(root):
                archive.directory(path, holder)
                source = os.fsencode(holder.source)
                for name, node in sorted(holder.children.items()):
                    if isinstance(node, Directory):
                        continue
                    full = _below(path, name)
                    if node.group and first_names.setdefault(node.group, full) != full:
                        links.append((full, node))
                        late.setdefault(path, holder)
                    elif node.kind == stat.S_IFLNK:
                        archive.symlink(full, node)
                    else:
                        archive.regular(full, node, source + b"/" + name)
    archives.append(directory / "joints")
    with Archive(archives[-1], step) as archive:
        for full, node in links:
            archive.link(full, first_names[node.group], node)
        for path, holder in late.items():
            archive.directory(path, holder)
    return archives


def _directories(root: Directory) -> Iterator[tuple[bytes, Directory]]:
    """Every directory with its path from the top, parents first."""
    pending = [(b".", root)]
    while pending:
        path, holder = pending.pop()
        yield path, holder
        pending += [
            (_below(path, name), child)
            for name, child in sorted(holder.children.items(), reverse=True)
            if isinstance(child, Directory)
        ]


def _below(path: bytes, name: bytes) -> bytes:
    return name if path == b"." else path + b"/" + name


def _relative(path: bytes) -> bytes:
    return path.strip(b"/") or b"."
