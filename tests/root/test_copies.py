"""Store paths in a directory, against nix-store --optimise, stat and diff.

Without these tests, a prepared root can hold incomplete store paths, or a copy can change its
source.
"""

import errno
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from assembler.copying.sharing import CopyMode, copy_problems
from assembler.errors import HostError
from assembler.host.progress import Step
from assembler.root.copies import copy_store
from assembler.store.closure import Closure
from assembler.store.paths import StoreRoot
from assembler.store.registration import format_registration
from assembler.tree.tree import Node, Slice, Tree
from tests.support.helpers import copy_closure, nix_store, output, real_info, store_tree, verify
from tests.support.places import AsRoot
from tests.support.systems import store_path

A, B, C = store_path(1, "a"), store_path(2, "b"), store_path(3, "c")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A store with odd file names, modes and times; A and B hold the same big file."""
    source = tmp_path / "source"
    for path in (A, B):
        (source / path[1:] / "d").mkdir(parents=True)
        (source / path[1:] / "d/same").write_bytes(b"same" * 10_000)
    for name in (b"\xff\xfe", b"a b", b"-rf", b"new\nline", b"*"):
        (source / A[1:] / os.fsdecode(name)).write_bytes(name)
    (source / A[1:] / "run").touch(mode=0o754)
    (source / A[1:] / "dangling").symlink_to("/nowhere")
    (source / A[1:] / "to-directory").symlink_to("d")
    (source / A[1:] / "read-only").mkdir()
    (source / A[1:] / "read-only/file").touch(mode=0o400)
    (source / A[1:] / "read-only").chmod(0o555)
    with (source / B[1:] / "sparse").open("wb") as file:
        file.truncate(64 << 20)
    (source / C[1:]).symlink_to(A)
    return source


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "nix/store").mkdir(parents=True)
    return root


def closure_in(source: Path, *paths: str) -> Closure:
    return Closure.merge(real_info(source, path) for path in paths or (A, B, C))


def copy(root: Path, source: Path) -> None:
    copy_closure(root, closure_in(source), StoreRoot(source))


def test_the_copies_are_the_same_to_nix(root: Path, source: Path) -> None:
    copy(root, source)
    for path in (A, B, C):
        assert real_info(root, path) == real_info(source, path)
    assert sorted(os.listdir(root / "nix/store")) == [path[11:] for path in (A, B, C)]


def test_modes_times_and_owners_are_canonical(root: Path, source: Path) -> None:
    copy(root, source)
    printed = output("find", root / A[1:], root / B[1:], "-printf", "%y %m %T@ %U\\n").decode()
    assert set(printed.splitlines()) == {
        f"{kind} {mode} 1.0000000000 {os.geteuid()}"
        for kind, mode in (("d", 555), ("f", 444), ("f", 555), ("l", 777))
    }
    assert stat.S_IMODE((root / A[1:] / "run").stat().st_mode) == 0o555


def test_nix_finds_no_fault(root: Path, source: Path) -> None:
    copy(root, source)
    nix_store(root, "--load-db", stdin=format_registration(closure_in(source).infos))
    assert verify(root) == ""


def test_nix_finds_a_byte_that_is_wrong(root: Path, source: Path) -> None:
    copy(root, source)
    nix_store(root, "--load-db", stdin=format_registration(closure_in(source).infos))
    (root / A[1:] / "run").chmod(0o755)
    (root / A[1:] / "run").write_bytes(b"x")
    assert f"path '{A}' was modified" in verify(root)


def test_holes_stay_holes(root: Path, source: Path) -> None:
    copy(root, source)
    assert (root / B[1:] / "sparse").stat().st_blocks == 0


def test_an_optimised_store_stays_optimised(root: Path, source: Path) -> None:
    os.unlink(source / B[1:] / "d/same")
    os.link(source / A[1:] / "d/same", source / B[1:] / "d/same")
    copy(root, source)
    first, second = (os.stat(root / path[1:] / "d/same") for path in (A, B))
    assert os.path.samestat(first, second)
    assert first.st_nlink == 2


def test_a_file_of_more_names_than_the_disk_allows_becomes_several(
    root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        os.link(source / A[1:] / "d/same", source / A[1:] / f"same-{number}")
    link = os.link

    def limited(path: bytes, target: bytes, **options: bool) -> None:
        if os.stat(path).st_nlink >= 2:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), path, None, target)
        link(path, target, **options)

    monkeypatch.setattr(os, "link", limited)
    copy(root, source)
    files = [root / A[1:] / name for name in ("d/same", *(f"same-{n}" for n in range(5)))]
    assert {file.read_bytes() for file in files} == {b"same" * 10_000}
    assert {file.stat().st_nlink for file in files} == {2}
    assert len({file.stat().st_ino for file in files}) == 3


def test_a_store_that_nix_optimised_itself_is_copied(root: Path, source: Path) -> None:
    copy(root, source)
    closure = closure_in(root)
    nix_store(root, "--load-db", stdin=format_registration(closure.infos))
    nix_store(root, "--optimise")
    second = root.parent / "second"
    (second / "nix/store").mkdir(parents=True)
    copy_closure(second, closure, StoreRoot(root))
    inodes = {os.stat(second / path[1:] / "d/same").st_ino for path in (A, B)}
    assert len(inodes) == 1
    assert closure_in(second) == closure


def test_a_second_copy_changes_nothing(root: Path, source: Path) -> None:
    copy(root, source)
    before = output("find", root, "-printf", "%p %i %m %C@\\n")
    copy(root, source)
    assert output("find", root, "-printf", "%p %i %m %C@\\n") == before


def test_a_copy_that_was_cut_short_is_completed(root: Path, source: Path) -> None:
    copy_closure(root, closure_in(source, A), StoreRoot(source))
    (root / A[1:]).chmod(0o755)  # killed just before it was closed
    left = root / "nix/store/.unfinished" / B[11:]
    (left / "d").mkdir(parents=True)
    (left / "d/same").write_bytes(b"half")
    (left / "d").chmod(0o000)
    copy(root, source)
    assert closure_in(root) == closure_in(source)
    assert stat.S_IMODE((root / A[1:]).stat().st_mode) == 0o555
    assert ".unfinished" not in os.listdir(root / "nix/store")


def test_a_path_appears_only_when_it_is_whole(root: Path, source: Path) -> None:
    closure = closure_in(source)
    (source / B[1:] / "d/same").chmod(0)
    with pytest.raises(HostError, match=f"cannot fill {root}: .*/d/same: Permission denied"):
        copy_closure(root, closure, StoreRoot(source))
    assert os.listdir(root / "nix/store") == [A[11:]]
    (source / B[1:] / "d/same").chmod(0o444)
    copy_closure(root, closure, StoreRoot(source))
    assert closure_in(root) == closure


def test_a_path_that_is_absent_is_told(root: Path, source: Path) -> None:
    closure = closure_in(source)
    (source / C[1:]).unlink()
    with pytest.raises(HostError, match=f"{C}.*No such file"):
        copy_closure(root, closure, StoreRoot(source))


def test_a_root_without_a_store_is_told(tmp_path: Path, source: Path) -> None:
    with pytest.raises(HostError, match=f"cannot fill {tmp_path}: {tmp_path}/nix/store/.unfin"):
        copy_closure(tmp_path, closure_in(source), StoreRoot(source))


def test_any_umask_will_do(root: Path, source: Path) -> None:
    before = os.umask(0o077)
    try:
        copy(root, source)
    finally:
        os.umask(before)
    assert not output("find", root / A[1:], "-type", "f", "!", "-perm", "444", "!", "-perm", "555")


def test_cp_and_the_copy_agree(root: Path, source: Path, tmp_path: Path) -> None:
    copy(root, source)
    output("cp", "-r", source / A[1:], tmp_path / "plain")
    assert output("diff", "-r", "--no-dereference", tmp_path / "plain", root / A[1:]) == b""


@pytest.fixture
def canonical(root: Path, source: Path) -> Path:
    """A second source, whose files look as Nix leaves them."""
    copy(root, source)
    return root


def second(root: Path) -> Path:
    """Another root beside a root."""
    other = root.parent / "second"
    (other / "nix/store").mkdir(parents=True)
    return other


def test_hardlink_mode_makes_further_names(canonical: Path) -> None:
    other = second(canonical)
    copy_closure(other, closure_in(canonical), StoreRoot(canonical), CopyMode.HARDLINK)
    for name in ("run", "d/same"):
        there, here = canonical / A[1:] / name, other / A[1:] / name
        assert os.path.samestat(there.stat(), here.stat())
    assert closure_in(other) == closure_in(canonical)


def test_hardlink_mode_leaves_the_source_as_it_is(root: Path, source: Path) -> None:
    """A file that does not look as Nix leaves it is copied: mending it would mend the source."""
    before = output("find", source, "-printf", "%p %m %T@ %n %i\\n")
    copy_closure(root, closure_in(source), StoreRoot(source), CopyMode.HARDLINK)
    assert output("find", source, "-printf", "%p %m %T@ %n %i\\n") == before
    printed = output("find", root / A[1:], "-type", "f", "-printf", "%m %T@ %n\\n").decode()
    assert set(printed.splitlines()) <= {"444 1.0000000000 1", "555 1.0000000000 1"}


@pytest.mark.parametrize("mode", [CopyMode.AUTO, CopyMode.COPY])
def test_other_modes_share_no_inode(canonical: Path, mode: CopyMode) -> None:
    other = second(canonical)
    copy_closure(other, closure_in(canonical), StoreRoot(canonical), mode)
    inodes = [
        {path.stat().st_ino for path in (root / A[1:]).rglob("*") if path.is_file()}
        for root in (canonical, other)
    ]
    assert inodes[0].isdisjoint(inodes[1])
    assert closure_in(other) == closure_in(canonical)


def reflinks(directory: Path) -> bool:
    """Whether cp can share data in a directory."""
    (directory / "one").write_bytes(b"x" * 8192)
    command = ["cp", "--reflink=always", directory / "one", directory / "two"]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_reflink_mode_shares_or_is_refused(root: Path, source: Path, tmp_path: Path) -> None:
    tree = store_tree(closure_in(source), StoreRoot(source))
    problems = copy_problems(root, tree, CopyMode.REFLINK)
    assert os.listdir(root) == ["nix"]
    if reflinks(tmp_path):
        assert problems == []
        copy_closure(root, closure_in(source), StoreRoot(source), CopyMode.REFLINK)
        assert closure_in(root) == closure_in(source)
    else:
        assert [line.split(":")[0] for line in problems] == ["copy_mode reflink"]
        assert f"cannot be shared with {root}: " in problems[0]


def test_reflinks_on_xfs_share_the_blocks(as_root: AsRoot, source: Path, tmp_path: Path) -> None:
    disk, mount = tmp_path / "disk", tmp_path / "mount"
    with disk.open("wb") as file:
        file.truncate(400 << 20)
    output("/sbin/mkfs.xfs", "-q", disk)
    mount.mkdir()
    as_root("mount", "-o", "loop", disk, mount)
    try:
        as_root("chown", str(os.geteuid()), mount)
        shutil.copytree(source, mount / "source", symlinks=True)
        (mount / "root/nix/store").mkdir(parents=True)
        closure = closure_in(mount / "source")
        tree = store_tree(closure, StoreRoot(mount / "source"))
        assert copy_problems(mount / "root", tree, CopyMode.REFLINK) == []
        for mode, name in ((CopyMode.REFLINK, "root"), (CopyMode.AUTO, "auto")):
            (mount / name / "nix/store").mkdir(parents=True, exist_ok=True)
            copy_closure(mount / name, closure, StoreRoot(mount / "source"), mode)
            assert closure_in(mount / name) == closure
            extents = output("/usr/sbin/filefrag", "-v", mount / name / A[1:] / "d/same").decode()
            assert "shared" in extents
        (mount / "copy/nix/store").mkdir(parents=True)
        copy_closure(mount / "copy", closure, StoreRoot(mount / "source"), CopyMode.COPY)
        extents = output("/usr/sbin/filefrag", "-v", mount / "copy" / A[1:] / "d/same").decode()
        assert "shared" not in extents
    finally:
        as_root("umount", mount)


def test_hardlinks_to_another_file_system_are_refused(root: Path, source: Path) -> None:
    tree = store_tree(closure_in(source), StoreRoot(source))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        [line] = copy_problems(Path(elsewhere), tree, CopyMode.HARDLINK)
    assert line.startswith("copy_mode hardlink: ")
    assert line.endswith(f"cannot be shared with {elsewhere}: Invalid cross-device link")
    assert copy_problems(root, tree, CopyMode.HARDLINK) == []


def test_files_of_an_export_cannot_be_shared(root: Path, tmp_path: Path) -> None:
    tree = Tree()
    tree.add(f"{A}/x".encode(), Node(stat.S_IFREG, 0o444, 1, Slice(str(tmp_path), 0)))
    [line] = copy_problems(root, tree, CopyMode.HARDLINK)
    assert line.startswith("copy_mode hardlink: the files of an export cannot be shared")


@pytest.mark.parametrize("wrong", ["missing", "longer", "added", "link", "kind"])
def test_a_path_that_is_wrong_is_made_anew(root: Path, source: Path, wrong: str) -> None:
    copy(root, source)
    top = root / A[1:]
    top.chmod(0o755)
    match wrong:
        case "missing":
            (top / "run").unlink()
        case "longer":
            (top / "run").chmod(0o644)
            (top / "run").write_bytes(b"more")
        case "added":
            (top / "new").touch()
        case "link":
            (top / "dangling").unlink()
            (top / "dangling").symlink_to("/somewhere")
        case "kind":
            (top / "run").unlink()
            (top / "run").mkdir()
    untouched = output("find", root / B[1:], "-printf", "%p %i %C@\\n")
    copy(root, source)
    assert closure_in(root) == closure_in(source)
    assert output("find", root / B[1:], "-printf", "%p %i %C@\\n") == untouched


def test_modes_and_times_that_are_wrong_are_mended(root: Path, source: Path) -> None:
    copy(root, source)
    before = output("find", root, "-printf", "%p %i %y %m %T@\\n")
    for path in (root / A[1:], root / A[1:] / "d", root / A[1:] / "run"):
        path.chmod(0o700)
        os.utime(path, (5, 5))
    os.utime(root / A[1:] / "dangling", (5, 5), follow_symlinks=False)
    copy(root, source)
    assert output("find", root, "-printf", "%p %i %y %m %T@\\n") == before


def test_hard_links_are_kept_when_a_copy_is_completed(root: Path, source: Path) -> None:
    os.unlink(source / B[1:] / "d/same")
    os.link(source / A[1:] / "d/same", source / B[1:] / "d/same")
    copy_closure(root, closure_in(source, A), StoreRoot(source))
    copy(root, source)
    first, other = (os.stat(root / path[1:] / "d/same") for path in (A, B))
    assert os.path.samestat(first, other)


def test_hashes_are_nixs_whether_a_path_is_there_or_not(root: Path, source: Path) -> None:
    closure = closure_in(source)
    copy_closure(root, closure_in(source, A), StoreRoot(source))
    tree = store_tree(closure, StoreRoot(source))
    found = copy_store(root, tree, Step(None), hash_paths={*closure.paths})
    assert found == {info.path: info.nar_hash for info in closure.infos}


def test_a_full_disk_is_told_and_the_copy_can_be_completed(
    as_root: AsRoot, source: Path, tmp_path: Path
) -> None:
    (source / B[1:] / "z").write_bytes(os.urandom(3 << 20))
    mount = tmp_path / "mount"
    mount.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", f"size=2m,uid={os.geteuid()}", "tmpfs", mount)
    try:
        (mount / "nix/store").mkdir(parents=True)
        with pytest.raises(HostError, match=f"cannot fill {mount}: .*No space left on device"):
            copy(mount, source)
        assert os.listdir(mount / "nix/store") == [A[11:]]
        as_root("mount", "-o", "remount,size=20m", mount)
        copy(mount, source)
        assert closure_in(mount) == closure_in(source)
    finally:
        as_root("umount", mount)
