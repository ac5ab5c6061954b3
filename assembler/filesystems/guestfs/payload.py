"""The disks that a Tree travels on into an appliance: tar archives to unpack there."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from assembler.copying.sender import DataSender, settle
from assembler.filesystems.guestfs.archive import Archive
from assembler.filesystems.guestfs.lanes import share_out
from assembler.host.progress import Step
from assembler.tree.tree import Directory, Node, Tree, visit

_TOP, _STORE = b".", b"nix/store"


def write_payload(directory: Path, tree: Tree, lanes: int, step: Step) -> list[Path]:
    """Write a Tree into archives, new files in `directory`; raises HostError.

    All but the last are to be unpacked first, side by side: at most `lanes`, with about the same
    work in each. The last one has what joins them: further names of files, and once more the
    directories that got entries after their times had been set.
    """
    shared_out = share_out(tree, lanes)
    late = {_relative(path): shared for path, shared in shared_out.shared}
    first_names: dict[int, bytes] = {}  # hard-link group → the name that is unpacked as a file
    links: list[tuple[bytes, Node]] = []
    archives: list[Path] = []
    senders: list[DataSender] = []
    for number, root in enumerate(shared_out.roots):
        archives.append(directory / f"lane-{number}")
        with Archive(archives[-1], tree, step) as archive:
            senders.append(archive.sender)
            for holder, path in _fill(archive, root, first_names, links):
                late.setdefault(path, holder)
    archives.append(directory / "joints")
    with Archive(archives[-1], Tree(), step) as archive:
        for full, node in links:
            archive.link(full, first_names[node.group], node)
        for path, holder in late.items():
            archive.directory(path, holder)
    settle(tree, senders, step)
    return archives


def _fill(
    archive: Archive,
    root: Directory,
    first_names: dict[int, bytes],
    links: list[tuple[bytes, Node]],
) -> Iterator[tuple[Directory, bytes]]:
    """Write all of a lane but further names of files, which are added to `links`.

    Yields the directories, with their paths, that will hold such names.
    """
    archive.directory(_TOP, root)
    above = [(root, _TOP)]
    for name, node, begins in visit(root):
        holder, path = above[-1]
        full = _below(path, name)
        if begins:
            archive.sender.begin(name, node, store_path=path == _STORE)
        if isinstance(node, Directory):
            if begins:
                archive.directory(full, node)
                above.append((node, full))
                continue
            above.pop()
        elif node.group and first_names.setdefault(node.group, full) != full:
            links.append((full, node))
            archive.sender.mention(node, _source(holder, name))
            yield holder, path
        elif node.kind == stat.S_IFLNK:
            archive.symlink(full, node)
        else:
            archive.regular(full, node, _source(holder, name))
        archive.sender.end(node)


def _source(holder: Directory, name: bytes) -> bytes:
    """The host path of a file that does not tell it."""
    return os.fsencode(holder.source) + b"/" + name


def _below(path: bytes, name: bytes) -> bytes:
    return name if path == _TOP else path + b"/" + name


def _relative(path: bytes) -> bytes:
    return path.strip(b"/") or _TOP
