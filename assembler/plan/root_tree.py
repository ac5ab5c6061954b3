"""The root of an image: a staging directory, and the Tree made of it and of the store paths."""

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from assembler.boot.mounts.fstab import read_mounts
from assembler.boot.protocol import BootData
from assembler.boot.volumes import Role
from assembler.copying.sender import Hashing
from assembler.plan.fat_rows import fat_places, move_to_fats, warn_of_hidden
from assembler.plan.request import Request
from assembler.root.build import build_tree, scan_store
from assembler.root.placing import add_contents
from assembler.root.prepare import make_skeleton
from assembler.root.skeleton import DATABASE
from assembler.root.store_only import keep_store
from assembler.store.closure import Closure
from assembler.store.database import make_database
from assembler.store.paths import inside
from assembler.tree.scan import Scanner
from assembler.tree.tree import Tree


@dataclass(frozen=True, slots=True)
class StagedRoot:
    """The parts of an image that take time: files, the inodes of the store, the boot loader."""

    directory: Path  # everything of the root outside the store, with the Nix database
    closure: Closure  # with the sizes of all store paths
    scanner: Scanner  # its tree has the store paths
    boot: BootData  # what the boot loader puts onto the disk
    database: Path | None  # the directory of the Nix database in it; None if there is none

    @property
    def tree(self) -> Tree:
        """Every inode of the image; only the store paths before `complete_tree`."""
        return self.scanner.tree

    def hashing(self, check: bool | None) -> Hashing:
        """The paths that a writer hashes while it copies, and the file that it copies last.

        For `check` see `Closure.to_hash`.
        """
        last = None if self.database is None else self.database / "db.sqlite"
        return Hashing(self.closure.to_hash(check), last)


def stage_root(request: Request, directory: Path) -> StagedRoot:
    """Prepare the root in `directory`, which is made, and add the store paths to a new tree.

    The database has dummies for hashes that are not known yet. Raises RequestError for what the
    system lacks, HostError when a tool fails.
    """
    directory.mkdir()
    tree = Tree(mtime=request.spec.root.epoch)
    scanner = Scanner(tree, max_names=request.spec.kind.limits.names)
    # Nix and GRUB's tools work in processes of their own, so they may run while we scan.
    with ThreadPoolExecutor() as pool:
        boot = pool.submit(request.loader.make, request.places)
        closure = _scan_and_prepare(request, scanner, directory, pool)
    database = None if request.spec.store_only else inside(directory, DATABASE)
    return StagedRoot(directory, closure, scanner, boot.result(), database)


def complete_tree(request: Request, staged: StagedRoot) -> BootData:
    """Add everything else to the store paths in the tree of a staged root.

    Returns what the boot loader puts onto the disk, with the user's files beside it. Raises
    RequestError for what the FATs cannot hold.
    """
    spec, epoch, tree = request.spec, request.spec.root.epoch, staged.tree
    if spec.store_only:
        keep_store(tree, epoch)
        return staged.boot
    boot_files = {f"/{file.path}": file.node(epoch) for file in staged.boot.of(Role.ROOT)}
    build_tree(tree, staged.scanner, staged.directory, boot_files, epoch)
    add_contents(tree, staged.scanner, request.rows, epoch)
    places = fat_places(request.volumes)
    seen = [*places, *(place for _, place in spec.subvolumes)]
    warn_of_hidden(request.rows, read_mounts(request.files, spec.root.system), seen)
    return move_to_fats(tree, request.rows, places, staged.boot)


def _scan_and_prepare(
    request: Request, scanner: Scanner, directory: Path, pool: Executor
) -> Closure:
    """Scan the store paths, and prepare the root meanwhile if all sizes are known before."""
    if request.spec.store_only:
        return scan_store(scanner.tree, scanner, request.closure, request.files)
    early = None
    if request.closure.is_sized:
        early = pool.submit(_prepare, request, request.closure, directory)
    closure = scan_store(scanner.tree, scanner, request.closure, request.files)
    if early is not None:
        early.result()
    else:
        _prepare(request, closure, directory)
    return closure


def _prepare(request: Request, closure: Closure, directory: Path) -> None:
    root, database = request.spec.root, inside(directory, DATABASE)
    make_skeleton(directory, root, closure.infos, request.files)
    make_database(closure.with_dummies().infos, request.files, database, root.epoch)
