"""Share a Tree out into lanes that are copied side by side, hard links staying together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assembler.root.tree import Directory, Node, Tree

_STORE = b"/nix/store"
_ELSEWHERE = b""  # stands for all that is not in the store; no file has this name
# What a file costs to copy besides its data, in bytes of data that take as long without KVM.
_PER_INODE = 50_000


@dataclass(frozen=True, slots=True)
class Lanes:
    """The roots of trees that together hold what one holds.

    No file is in two of `roots`; `shared` has the directories that are, and nothing else.
    """

    roots: tuple[Directory, ...]
    shared: Directory


def share_out(tree: Tree, count: int) -> Lanes:
    """Share the store paths out into at most `count` lanes of about the same work.

    What lies elsewhere goes into the first. All names of an inode are in one lane, so that a
    store linked through and through by `nix-store --optimise` makes a single one.
    """
    store = tree.get(_STORE)
    if count < 2 or not isinstance(store, Directory):
        return Lanes((tree.root,), _hollow(tree.root))
    names: list[list[bytes]] = [[] for _ in range(count)]
    work = [0] * count
    for cost, bundle in sorted(_bundles(tree, store), reverse=True, key=lambda one: one[0]):
        lane = 0 if _ELSEWHERE in bundle else work.index(min(work))
        names[lane] += [name for name in bundle if name != _ELSEWHERE]
        work[lane] += cost
    roots = [_lane(tree, store, names[0], whole=True)]
    roots += [_lane(tree, store, some, whole=False) for some in names[1:] if some]
    return Lanes(tuple(roots), _lane(tree, store, (), whole=False))


def _bundles(tree: Tree, store: Directory) -> list[tuple[int, list[bytes]]]:
    """The store's entries, with `_ELSEWHERE`, as (work, names) that hard links tie together."""
    leader = {name: name for name in (_ELSEWHERE, *sorted(store.children))}

    def lead(name: bytes) -> bytes:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    costs = {}
    first: dict[int, bytes] = {}  # hard-link group → an entry that has a name of it
    for name in leader:
        top = tree.root if name == _ELSEWHERE else store.children[name]
        costs[name], groups = _survey(top, store)
        for group in groups:
            leader[lead(name)] = lead(first.setdefault(group, name))
    bundles: dict[bytes, tuple[int, list[bytes]]] = {}
    for name, cost in costs.items():
        so_far, names = bundles.get(lead(name), (0, []))
        names.append(name)
        bundles[lead(name)] = so_far + cost, names
    return list(bundles.values())


def _survey(top: Directory | Node, store: Directory) -> tuple[int, set[int]]:
    """The work of copying all from `top` down but for `store`, and the hard-link groups there."""
    cost, groups = 0, set()
    pending: list[Directory | Node] = [top]
    while pending:
        node = pending.pop()
        cost += _PER_INODE
        if isinstance(node, Directory):
            pending += [child for child in node.children.values() if child is not store]
        else:
            cost += node.size
            groups.add(node.group)
    return cost, groups - {0}


def _lane(tree: Tree, store: Directory, names: Iterable[bytes], *, whole: bool) -> Directory:
    """A root with the store paths given, and with all outside the store if it is the `whole`."""
    nix = tree.get(b"/nix")
    assert isinstance(nix, Directory)
    root, below, entries = _hollow(tree.root), _hollow(nix), _hollow(store)
    if whole:
        root.children.update(tree.root.children)
        below.children.update(nix.children)
    root.children[b"nix"], below.children[b"store"] = below, entries
    entries.children.update((name, store.children[name]) for name in names)
    return root


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


def payload_tree(tree: Tree, lanes: Lanes) -> Tree:
    """The Tree of a payload disk: a directory for each lane, 0, 1, …, and `shared`."""
    made = Tree(mtime=tree.mtime)
    made.names = tree.names
    for name, root in name_roots(lanes):
        made.root.children[name.encode()] = root
    return made


def name_roots(lanes: Lanes) -> Sequence[tuple[str, Directory]]:
    """Each directory of a payload disk with its name."""
    return [*((str(n), root) for n, root in enumerate(lanes.roots)), ("shared", lanes.shared)]
