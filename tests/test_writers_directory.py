"""Store paths in a directory, against nix-store --optimise, stat and diff."""

import os
import stat
from pathlib import Path

import pytest

from assembler.errors import HostError
from assembler.store.closure import Closure
from assembler.store.paths import StoreRoot
from assembler.store.registration import format_registration
from tests.helpers import copy_closure, nix_store, output, real_info, verify
from tests.systems import store_path

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
    said = output("find", root / A[1:], root / B[1:], "-printf", "%y %m %T@ %U\\n").decode()
    assert set(said.splitlines()) == {
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
