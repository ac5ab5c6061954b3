"""Share a Tree out into lanes that are unpacked side by side."""

from collections.abc import Iterable
from dataclasses import dataclass

from assembler.tree.tree import Directory, Node, Tree
from assembler.units import KIB

_STORE = b"/nix/store"
# What a file costs to unpack besides its data, in bytes of data that take as long without KVM.
_PER_INODE = 50 * KIB


@dataclass(frozen=True, slots=True)
class Lanes:
    """The roots of trees that together hold what one holds.

    No file is in two of `roots`; `shared` has the path and the Directory of each directory that
    is, parents first. The names of a hard-link group may be in several.
    """

    roots: tuple[Directory, ...]
    shared: tuple[tuple[bytes, Directory], ...]


def share_out(tree: Tree, count: int) -> Lanes:
    """Share the store paths out into at most `count` lanes of about the same work.

    What lies elsewhere goes into the first.
    """
    nix, store = tree.get(b"/nix"), tree.get(_STORE)
    if count < 2 or not isinstance(nix, Directory) or not isinstance(store, Directory):
        return Lanes((tree.root,), ())
    names: list[list[bytes]] = [[] for _ in range(count)]
    work = [_work(tree.root, leave_out=store), *[0] * (count - 1)]
    costs = {name: _work(top) for name, top in store.children.items()}
    for name in sorted(costs, key=lambda one: (-costs[one], one)):
        lane = work.index(min(work))
        names[lane].append(name)
        work[lane] += costs[name]
    first = _lane(tree.root, nix, store, names[0], whole=True)
    others = [_lane(tree.root, nix, store, some, whole=False) for some in names[1:] if some]
    shared = ((b"/", tree.root), (b"/nix", nix), (_STORE, store))
    return Lanes((first, *others), shared if others else ())


def _work(top: Directory | Node, leave_out: Directory | None = None) -> int:
    """The work of unpacking all from `top` down, but for a directory, in bytes of data."""
    cost = 0
    pending: list[Directory | Node] = [top]
    while pending:
        node = pending.pop()
        cost += _PER_INODE
        if isinstance(node, Directory):
            pending += [child for child in node.children.values() if child is not leave_out]
        else:
            cost += node.size
    return cost


def _lane(
    root: Directory, nix: Directory, store: Directory, names: Iterable[bytes], *, whole: bool
) -> Directory:
    """A root with the store paths given, and with all outside the store if it is the `whole`."""
    made, below, entries = _hollow(root), _hollow(nix), _hollow(store)
    if whole:
        made.children.update(root.children)
        below.children.update(nix.children)
    made.children[b"nix"], below.children[b"store"] = below, entries
    entries.children.update((name, store.children[name]) for name in names)
    return made


def _hollow(directory: Directory) -> Directory:
    """A directory like this one with nothing in it."""
    return Directory(
        directory.mode,
        uid=directory.uid,
        gid=directory.gid,
        mtime=directory.mtime,
        source=directory.source,
        xattrs=directory.xattrs,
    )
