"""What several tests need: programs as oracles, Nix on a store in a directory, scratch space."""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assembler.copying.sharing import CopyMode
from assembler.host.progress import Step
from assembler.root.build import scan_store
from assembler.root.copies import copy_store
from assembler.root.prepare import make_skeleton
from assembler.root.skeleton import DATABASE
from assembler.spec import RootSpec
from assembler.store.closure import Closure, read_closure
from assembler.store.database import make_database
from assembler.store.paths import StoreRoot, inside
from assembler.store.registration import PathInfo
from assembler.tree.closure_files import ClosureFiles
from assembler.tree.scan import Scanner
from assembler.tree.tree import Tree
from tests.support.systems import System, make_system


def output(*argv: str | Path, stdin: bytes = b"") -> bytes:
    """What a program prints; if it fails, so does the test, with its output."""
    done = subprocess.run([os.fspath(arg) for arg in argv], input=stdin, capture_output=True)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done.stdout


def nix_store(root: Path, *argv: str | Path, stdin: bytes = b"") -> bytes:
    """`nix-store` on the store below `root`."""
    return output("nix-store", "--store", f"local?root={root}", *argv, stdin=stdin)


def real_info(root: Path, path: str, references: Sequence[str] = ()) -> PathInfo:
    """The registration of a store path whose files are there."""
    nar = output("nix-store", "--dump", root / path.lstrip("/"))
    return PathInfo(path, hashlib.sha256(nar).hexdigest(), len(nar), tuple(references))


def registered_system(root: Path) -> System:
    """A tiny system that Nix has registered in the store below `root`."""
    system = make_system(root)
    nix_store(root, "--load-db", stdin=system.registration.read_bytes())
    return system


def export_to(file: Path, system: System) -> Path:
    """Have Nix export the closure of a registered system to a file."""
    file.write_bytes(nix_store(system.root, "--export", *system.paths))
    return file


def closure_of(system: System) -> tuple[Closure, StoreRoot]:
    """The closure of a test's system, and its store."""
    store = StoreRoot(system.root)
    return read([system.registration], store, system.toplevel), store


def read(
    sources: Sequence[Path],
    store: StoreRoot,
    system: str,
    additional: Sequence[str] = (),
    *,
    build_dependencies: bool = False,
) -> Closure:
    """The closure of sources none of which is an export."""
    files = ClosureFiles(store, Path("/nonexistent"))
    return read_closure(
        sources, store, system, additional, files, build_dependencies=build_dependencies
    )


def store_tree(closure: Closure, store: StoreRoot) -> Tree:
    """The tree of a closure's store paths."""
    tree = Tree()
    scan_store(tree, Scanner(tree), closure, ClosureFiles(store, Path("/nonexistent")))
    return tree


def prepare_root(
    root: Path, closure: Closure, store: StoreRoot, system: str, *, epoch: int, **options: Any
) -> None:
    """Make skeleton and database in `root`; the options are those of RootSpec."""
    wanted = RootSpec(system=system, epoch=epoch, **options)
    make_skeleton(root, wanted, closure.infos, store)
    make_database(closure.infos, store, inside(root, DATABASE), epoch)


def copy_closure(
    root: Path, closure: Closure, store: StoreRoot, mode: CopyMode = CopyMode.AUTO
) -> None:
    """Copy the store paths of a closure into `root`."""
    copy_store(root, store_tree(closure, store), Step(None), mode)


def verify(root: Path) -> str:
    """What Nix finds wrong with the store below `root`, every byte of it read."""
    done = subprocess.run(
        ["nix-store", "--store", f"local?root={root}", "--verify", "--check-contents"],
        capture_output=True,
        text=True,
    )
    known = "warning: the group 'nixbld' specified in 'build-users-group' does not exist"
    lines = [line for line in done.stderr.splitlines() if line != known]
    return "\n".join(line for line in lines if not line.endswith("..."))  # the names of steps


@contextmanager
def directory() -> Iterator[Path]:
    """A directory of its own for each example of a property test."""
    with tempfile.TemporaryDirectory(prefix="assemble-test-") as name:
        yield Path(name)
