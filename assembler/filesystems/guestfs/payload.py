"""The disk on which a Tree gets into an appliance: a tar archive to unpack there."""

import stat
from pathlib import Path

from assembler.copying.sender import NO_HASHING, DataSender, Hashing
from assembler.filesystems.guestfs.archive import Archive
from assembler.host.progress import Step
from assembler.tree.tree import Directory, Tree, visit

_TOP = b"."


def write_payload(path: Path, tree: Tree, step: Step, hashing: Hashing = NO_HASHING) -> DataSender:
    """Write a Tree into a new archive at `path`, all but `hashing.last`; raises HostError.

    The sender that it returns has the hashes, and sends the last file.
    """
    first_names: dict[int, bytes] = {}  # hard-link group → the name that is unpacked as a file
    with Archive(path, step, hashing) as archive:
        archive.directory(_TOP, tree.root)
        above, store = [(tree.root, b"")], tree.store
        for name, node, begins, source in visit(tree.root):
            holder, prefix = above[-1]
            full = prefix + name
            if begins:
                archive.sender.begin(name, node, store_path=holder is store)
            if isinstance(node, Directory):
                if begins:
                    archive.directory(full, node)
                    above.append((node, full + b"/"))
                    continue
                above.pop()
            elif node.group and first_names.setdefault(node.group, full) != full:
                archive.link(full, first_names[node.group], node)
                archive.sender.send_again(node, source)
            elif node.kind == stat.S_IFLNK:
                archive.symlink(full, node)
            else:
                archive.regular(full, node, source)
            archive.sender.end(node)
    return archive.sender
