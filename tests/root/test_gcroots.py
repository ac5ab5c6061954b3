"""Garbage-collector roots keep alive what they should, as Nix lists it.

Without these tests, the first garbage collection on the machine can remove what the user added.
"""

from itertools import pairwise
from pathlib import Path, PurePosixPath

import pytest

from assembler.root.gcroots import DIRECTORY, gc_roots
from assembler.store.registration import PathInfo, format_registration
from tests.support.helpers import nix_store
from tests.support.systems import store_path

SYSTEM, USED = store_path(1, "system"), store_path(2, "used")
TOP, MIDDLE, LEAF = store_path(3, "top"), store_path(4, "middle"), store_path(5, "leaf")


def info(path: str, *references: str) -> PathInfo:
    return PathInfo(path, "0" * 64, 1, references)


def roots(*infos: PathInfo, kept: tuple[str, ...] = (SYSTEM,)) -> list[str]:
    """The store paths that get a link; asserts that each link has its name."""
    links = gc_roots(infos, kept)
    for link, path in links.items():
        assert link == f"{DIRECTORY}/{PurePosixPath(path).name}"
    return list(links.values())


def test_a_system_alone_needs_none() -> None:
    assert roots(info(SYSTEM, USED, SYSTEM), info(USED)) == []


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ((info(LEAF),), [LEAF]),
        ((info(LEAF, LEAF),), [LEAF]),  # a reference to itself keeps nothing alive
        ((info(TOP, MIDDLE), info(MIDDLE, LEAF), info(LEAF)), [TOP]),
        ((info(TOP, LEAF), info(MIDDLE, LEAF), info(LEAF)), [TOP, MIDDLE]),
        ((info(TOP, USED, SYSTEM),), [TOP]),  # what it refers to is alive already
    ],
)
def test_only_what_nothing_refers_to_gets_a_link(
    infos: tuple[PathInfo, ...], expected: list[str]
) -> None:
    system = (info(SYSTEM, USED), info(USED))
    assert roots(*system, *infos) == expected
    assert roots(*reversed(infos), *system) == expected


def test_what_a_system_refers_to_is_alive_whatever_else_refers_to_it() -> None:
    assert roots(info(SYSTEM, MIDDLE), info(MIDDLE, LEAF), info(LEAF)) == []


def test_several_systems_keep_what_each_refers_to() -> None:
    infos = info(SYSTEM, USED), info(USED), info(TOP, LEAF), info(LEAF), info(MIDDLE)
    assert roots(*infos, kept=(SYSTEM, TOP)) == [MIDDLE]


def test_an_output_is_not_kept_by_its_derivation() -> None:
    derivation = store_path(6, "tool.drv")
    assert roots(info(SYSTEM), info(derivation), info(LEAF)) == [LEAF, derivation]


def test_nix_takes_all_for_alive_and_without_the_links_it_does_not(tmp_path: Path) -> None:
    infos = [info(TOP, MIDDLE), info(MIDDLE, LEAF), info(LEAF), info(USED)]
    nix_store(tmp_path, "--load-db", stdin=format_registration(infos))
    for path in (TOP, MIDDLE, LEAF, USED):  # nix-store collects what is there
        (tmp_path / path[1:]).mkdir(parents=True)
    dead = ["--gc", "--print-dead"]
    assert len(nix_store(tmp_path, *dead).split()) == len(infos)
    for link, path in gc_roots(infos, []).items():
        place = tmp_path / link[1:]
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(path)
    assert nix_store(tmp_path, *dead) == b""
    (tmp_path / DIRECTORY[1:] / PurePosixPath(TOP).name).unlink()
    assert set(nix_store(tmp_path, *dead).decode().split()) == {TOP, MIDDLE, LEAF}


def test_a_long_chain_is_no_obstacle() -> None:
    paths = [store_path(1, f"p{number}") for number in range(50_000)]
    chain = [info(path, other) for path, other in pairwise(paths)]
    assert roots(*chain, info(paths[-1]), kept=(paths[1],)) == [paths[0]]
