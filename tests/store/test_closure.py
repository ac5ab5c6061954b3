"""Closures out of their sources.

Without these tests, an image can lack store paths, and its programs fail when they start.
"""

import os
from pathlib import Path

import pytest

from assembler.errors import RequestError
from assembler.store.closure import Closure
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo, format_registration
from assembler.store.sources import read_source
from assembler.tree.closure_files import ClosureFiles
from tests.support.helpers import closure_of, output, read
from tests.support.systems import make_system, store_path

A, B, C = store_path(1, "a"), store_path(2, "b"), store_path(3, "c")
HASH = "0" * 64


def source(path: Path) -> list[PathInfo]:
    """What a source registers that is no export."""
    return read_source(path, ClosureFiles(StoreRoot(), Path("/nonexistent")).receive)


def test_merging_sorts_and_keeps_one_of_each() -> None:
    first, second = PathInfo(B, HASH, 1, (A,)), PathInfo(A, HASH, 1, ())
    assert Closure.merge([first, second, first]).paths == [A, B]


def test_the_order_of_references_is_no_difference() -> None:
    one, other = PathInfo(C, HASH, 1, (A, B)), PathInfo(C, HASH, 1, (B, A, A))
    assert Closure.merge([one, other]).infos == (one,)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (PathInfo(A, "1" * 64, 1, ()), f"{A} is registered with two hashes: sha256:00.*sha256:11"),
        (PathInfo(A, HASH, 2, ()), f"{A} is registered with two sizes: 1 and 2"),
        (PathInfo(A, HASH, 1, (B,)), f"{A} is registered with different references"),
    ],
)
def test_sources_that_disagree_are_refused(other: PathInfo, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        Closure.merge([PathInfo(A, HASH, 1, ()), other])


def test_every_disagreement_is_told() -> None:
    infos = [PathInfo(path, digit * 64, 1, ()) for path in (A, B) for digit in "01"]
    with pytest.raises(RequestError) as caught:
        Closure.merge(infos)
    assert len(caught.value.problems) == 2


def test_a_whole_closure_has_no_problems(tmp_path: Path) -> None:
    system = make_system(tmp_path)
    closure, store = closure_of(system)
    assert closure.problems(store, [system.toplevel]) == []
    assert closure.paths == sorted(system.paths)


def test_every_gap_is_told(tmp_path: Path) -> None:
    (tmp_path / A[1:]).mkdir(parents=True)
    closure = Closure.merge([PathInfo(A, HASH, 1, (A, C)), PathInfo(B, HASH, 1, ())])
    assert closure.problems(StoreRoot(tmp_path), [A, C]) == [
        f"{C} is not in the closure",
        f"{A} refers to {C}, which is not in the closure",
        f"{B} is in the closure but cannot be read: No such file or directory",
    ]


def test_a_store_path_may_be_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "nix/store").mkdir(parents=True)
    (tmp_path / A[1:]).symlink_to("/nowhere")
    assert Closure.merge([PathInfo(A, HASH, 1, ())]).problems(StoreRoot(tmp_path), [A]) == []


def test_a_closure_info_directory_is_a_source(tmp_path: Path) -> None:
    infos = [PathInfo(A, HASH, 1, ())]
    (tmp_path / "registration").write_bytes(format_registration(infos))
    assert source(tmp_path) == source(tmp_path / "registration") == infos


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a registration: it is empty"),
        (b"\xff\n", "is not a registration: it is not text"),
        (b"hello\n", "line 1: 'hello' is not a store path"),
        (b"\r\n", "line 1"),
    ],
)
def test_what_is_no_source_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(RequestError, match=words) as caught:
        source(tmp_path / "file")
    assert f"{tmp_path}/file" in str(caught.value)


@pytest.mark.parametrize("name", ["absent", "locked/file", ".", "x" * 300])
def test_a_source_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(RequestError, match="cannot read the closure"):
        source(tmp_path / name)


def test_a_registration_needs_no_store(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(format_registration([PathInfo(A, HASH, 1, ())]))
    assert read([tmp_path / "r"], StoreRoot(tmp_path), A, [A]).paths == [A]


def test_the_live_store_knows_the_demo_system(demo_system: str) -> None:
    closure = read([], StoreRoot(), demo_system)
    listed = output("nix-store", "--query", "--requisites", demo_system).decode().split()
    assert closure.paths == sorted(listed)
    assert closure.problems(StoreRoot(), [demo_system]) == []


def test_an_additional_path_brings_its_closure(demo_system: str, tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(format_registration([PathInfo(A, HASH, 1, ())]))
    closure = read([tmp_path / "r"], StoreRoot(), A, [demo_system])
    listed = output("nix-store", "--query", "--requisites", demo_system).decode().split()
    assert set(closure.paths) == {A, *listed}


def test_problems_of_a_large_closure_are_found_quickly(tmp_path: Path) -> None:
    os.makedirs(tmp_path / "nix/store")
    paths = [store_path(1, f"p{number}") for number in range(20_000)]
    infos = [PathInfo(path, HASH, 1, (paths[0], path)) for path in paths]
    closure = Closure.merge(infos)
    assert len(closure.problems(StoreRoot(tmp_path), paths)) == len(paths)


UNKNOWN = PathInfo(A, None, None, ())


def test_what_one_source_does_not_know_another_does() -> None:
    known = PathInfo(A, HASH, 7, ())
    assert (
        Closure.merge([UNKNOWN, known]).infos == Closure.merge([known, UNKNOWN]).infos == (known,)
    )
    assert Closure.merge([UNKNOWN, UNKNOWN]).infos == (UNKNOWN,)


def test_which_paths_are_read_to_be_hashed() -> None:
    infos = (UNKNOWN, PathInfo(B, HASH, 1, ()), PathInfo(C, HASH, 1, ()))
    closure = Closure(infos, from_store=frozenset([B]))
    assert closure.to_hash(None) == {A, C}
    assert closure.to_hash(True) == {A, B, C}
    assert closure.to_hash(False) == {A}
    hashed = Closure(infos[1:], from_store=frozenset([B]), hashed=frozenset([C]))
    assert hashed.to_hash(None) == frozenset()
    assert hashed.to_hash(True) == {B}


def test_sizes_and_hashes_that_are_found_are_filled_in() -> None:
    closure = Closure((UNKNOWN, PathInfo(B, HASH, 5, ())))
    assert not closure.is_sized
    sized = closure.with_sizes({A: 3, B: 5})
    assert [info.nar_size for info in sized.infos] == [3, 5]
    assert sized.is_sized
    assert not sized.is_hashed
    hashed = sized.with_hashes({A: "1" * 64, B: HASH})
    assert [info.nar_hash for info in hashed.infos] == ["1" * 64, HASH]
    assert hashed.is_hashed
    assert [info.nar_hash for info in sized.with_dummies().infos] == ["0" * 64, HASH]


def test_every_size_and_hash_that_is_wrong_is_told() -> None:
    closure = Closure(tuple(PathInfo(path, HASH, 5, ()) for path in (A, B, C)))
    with pytest.raises(RequestError) as caught:
        closure.with_sizes({A: 5, B: 6, C: 7})
    assert caught.value.problems == tuple(
        f"{path} does not match its registration: its files make a NAR of {size} bytes, "
        "5 are registered"
        for path, size in ((B, 6), (C, 7))
    )
    with pytest.raises(RequestError) as caught:
        closure.with_hashes({A: "1" * 64, B: HASH})
    assert caught.value.problems == (
        f"{A} does not match its registration: expected sha256:{HASH}, got sha256:{'1' * 64}",
    )
