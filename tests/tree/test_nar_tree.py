"""The trees of an export, against those of the store and what Nix registered.

Without these tests, an image from an export can differ from one from the store, or take minutes to
plan.
"""

import os
import time
from pathlib import Path

import pytest

from assembler.root.build import scan_store
from assembler.store import nar
from assembler.store.closure import Closure
from assembler.store.paths import StoreRoot
from assembler.store.sources import read_source
from assembler.tree.closure_files import ClosureFiles
from assembler.tree.nar_tree import nar_size
from assembler.tree.scan import Scanner
from assembler.tree.tree import Tree, visit
from tests.store.test_nar import dump
from tests.support.helpers import nix_store, output
from tests.support.systems import store_path

NOWHERE = StoreRoot(Path("/nonexistent"))


@pytest.fixture(scope="module")
def demo_export(demo_system: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's closure as an export."""
    paths = output("nix-store", "--query", "--requisites", demo_system).decode().split()
    file = tmp_path_factory.mktemp("demo") / "export"
    file.write_bytes(output("nix-store", "--export", *paths))
    return file


def test_a_real_system_has_the_sizes_that_nix_registered(demo_export: Path, tmp_path: Path) -> None:
    files = ClosureFiles(NOWHERE, tmp_path)
    infos = read_source(demo_export, files.receive)
    paths = [info.path for info in infos]
    sizes = output("nix-store", "--query", "--size", *paths).decode().split()
    assert [info.nar_size for info in infos] == list(map(int, sizes))
    assert {info.nar_hash for info in infos} == {None}
    # Once more, they are compared with what came first, for which they are hashed.
    again = read_source(demo_export, files.receive)
    printed = output("nix-store", "--query", "--hash", *paths).decode().split()
    base32 = [word.removeprefix("sha256:") for word in printed]
    base16 = output("nix-hash", "--type", "sha256", "--to-base16", *base32).decode().split()
    assert [info.nar_hash for info in again] == base16


def test_the_trees_are_those_of_the_store(demo_export: Path, tmp_path: Path) -> None:
    """Kinds, modes, sizes, targets and times; only where the data comes from differs."""
    files = ClosureFiles(NOWHERE, tmp_path)
    closure = Closure.merge(read_source(demo_export, files.receive))
    trees = [Tree(), Tree()]
    for tree, of in zip(trees, (files, ClosureFiles(StoreRoot(), tmp_path)), strict=True):
        scan_store(tree, Scanner(tree), closure, of)
    exported, stored = (
        [
            (name, begins, node.mode, node.uid, node.gid, node.mtime, getattr(node, "kind", 0),
             getattr(node, "size", 0))
            for name, node, begins, _ in visit(tree.root)
        ]
        for tree in trees
    )  # fmt: skip
    assert exported == stored
    assert len(exported) > 1000


def test_an_export_of_60000_files_is_indexed_at_once(tmp_path: Path) -> None:
    """Every hundredth is large, and gone past without being read."""
    path, data = store_path(1, "many"), bytes(16)
    file = nar.regular(16, executable=False) + data + nar.regular_end(16)
    large = nar.regular(300_000, executable=True) + bytes(300_000) + nar.regular_end(300_000)
    with (tmp_path / "export").open("wb") as out:
        out.write((1).to_bytes(8, "little") + nar.HEADER + nar.DIRECTORY)
        for number in range(600):
            out.write(nar.entry(b"%04d" % number) + nar.DIRECTORY)
            for below in range(100):
                out.write(nar.entry(b"%02d" % below) + (large if below == 50 else file) + nar.END)
            out.write(nar.END + nar.END)
        out.write(nar.END + (0x4558494E).to_bytes(8, "little") + nar.string(path.encode()))
        out.write(bytes(8) + nar.string(b"") + bytes(8) + bytes(8))
    files = ClosureFiles(NOWHERE, tmp_path)
    started = time.process_time()
    [info] = read_source(tmp_path / "export", files.receive)
    assert time.process_time() - started < 5  # a second or so where nothing else runs
    assert sum(1 for _ in visit(files.trees[path])) == 600 * 2 + 60_000  # type: ignore[arg-type]
    framing = nar.string(path.encode()) + nar.string(b"") + bytes(5 * 8)
    assert info.nar_size == os.path.getsize(tmp_path / "export") - len(framing)
    assert info.nar_size == nar_size(files.trees[path])


def test_hard_links_are_files_of_their_own(tmp_path: Path) -> None:
    """A NAR has no inodes."""
    top = store_path(1, "a")
    host = tmp_path / top[1:]
    host.mkdir(parents=True)
    (host / "one").write_bytes(b"text")
    (host / "two").hardlink_to(host / "one")
    digest = output("nix-hash", "--type", "sha256", host).decode().strip()
    size = len(dump(host))
    nix_store(tmp_path, "--load-db", stdin=f"{top}\n{digest}\n{size}\n\n0\n".encode())
    (tmp_path / "export").write_bytes(nix_store(tmp_path, "--export", top))
    files = ClosureFiles(NOWHERE, tmp_path)
    read_source(tmp_path / "export", files.receive)
    assert [node.group for _, node, _, _ in visit(files.trees[top])] == [0, 0]  # type: ignore
