"""The build-time closure, against what nix-store lists.

Without these tests, a machine with --include-build-deps can fail to rebuild its system offline.
"""

from pathlib import Path

import pytest

from assembler.errors import RequestError
from assembler.store import live
from assembler.store.buildtime import complete
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo, format_registration
from tests.support.derivations import make_built, register
from tests.support.helpers import closure_of, nix_store, output, read
from tests.support.systems import System, make_system, store_path

GONE = store_path(7, "gone.drv")


def test_the_demos_is_what_nix_lists(demo_system: str) -> None:
    closure = read([], StoreRoot(), demo_system, [], build_dependencies=True)
    [deriver] = output("nix-store", "--query", "--deriver", demo_system).decode().split()
    listed = output("nix-store", "--query", "--requisites", "--include-outputs", deriver)
    assert closure.paths == sorted(listed.decode().split())
    assert closure.problems(StoreRoot(), [demo_system]) == []


def test_it_has_every_output_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    built = make_built(tmp_path)
    closure = read([], StoreRoot(tmp_path), built.system, [], build_dependencies=True)
    assert set(closure.paths) == built.closure
    assert set(closure.paths) > {*built.derivations, *built.outputs}
    assert caplog.text == ""


def test_without_being_asked_for_it_stays_away(tmp_path: Path) -> None:
    built = make_built(tmp_path)
    assert read([], StoreRoot(tmp_path), built.system, []).paths == [built.system]


def test_outputs_that_the_store_lacks_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    built = make_built(tmp_path, unbuilt=["tool-dev"])
    infos = complete([], StoreRoot(tmp_path), StoreRoot(tmp_path), built.system)
    [missing] = set(built.outputs) - {info.path for info in infos}
    assert f"outputs that are not in the store: 1, such as {missing}; " in caplog.text


def test_a_source_that_has_it_all_needs_no_store(tmp_path: Path) -> None:
    built = make_built(tmp_path)
    infos = live.query(StoreRoot(tmp_path), sorted(built.closure))
    (tmp_path / "r").write_bytes(format_registration(infos))
    (tmp_path / "nix/var/nix/db/db.sqlite").unlink()
    store = StoreRoot(tmp_path)
    found = read([tmp_path / "r"], store, built.system, [], build_dependencies=True)
    assert set(found.paths) == {info.path for info in infos}


@pytest.mark.parametrize("kept", ["", ".drv"])
def test_what_a_source_lacks_comes_from_the_store(tmp_path: Path, kept: str) -> None:
    built = make_built(tmp_path)
    paths = {built.system, *(path for path in built.closure if kept and path.endswith(kept))}
    infos = [i for i in live.query(StoreRoot(tmp_path), sorted(built.closure)) if i.path in paths]
    (tmp_path / "r").write_bytes(format_registration(infos))
    store = StoreRoot(tmp_path)
    found = read([tmp_path / "r"], store, built.system, [], build_dependencies=True)
    assert set(found.paths) == built.closure


def loaded(root: Path, deriver: str = "") -> System:
    """A system in a store with a database, its toplevel with a deriver."""
    system = make_system(root)
    infos, of = closure_of(system)[0].infos, {system.toplevel: deriver}
    lines = b"".join(register(info, of.get(info.path, "")) for info in infos)
    nix_store(root, "--load-db", stdin=lines)
    return system


@pytest.mark.parametrize(
    ("deriver", "words"),
    [
        ("", r"Nix does not know what built {}: find its derivation with nix-instantiate"),
        (GONE, rf"{GONE}, which built {{}}, is no longer in the store: run nix-instantiate"),
    ],
)
def test_a_derivation_that_is_not_there_is_told(tmp_path: Path, deriver: str, words: str) -> None:
    system = loaded(tmp_path, deriver)
    with pytest.raises(RequestError, match=words.format(system.toplevel)) as caught:
        complete([], StoreRoot(tmp_path), StoreRoot(tmp_path), system.toplevel)
    assert len(caught.value.problems) == 1


def test_unknown_paths_and_an_unknown_derivation_are_told_at_once(tmp_path: Path) -> None:
    system, store = loaded(tmp_path), StoreRoot(tmp_path)
    nowhere = store_path(9, "nowhere")
    with pytest.raises(RequestError) as caught:
        read([], store, system.toplevel, [nowhere], build_dependencies=True)
    unknown, derivation = caught.value.problems
    assert unknown == f"{nowhere} is unknown to Nix's database"
    assert "does not know what built" in derivation


def test_a_system_that_the_store_does_not_know_is_told_once(tmp_path: Path) -> None:
    make_built(tmp_path)
    nowhere = store_path(9, "nowhere")
    with pytest.raises(RequestError) as caught:
        read([], StoreRoot(tmp_path), nowhere, [], build_dependencies=True)
    assert caught.value.problems == (f"{nowhere} is unknown to Nix's database",)


def test_a_store_without_a_database_is_told_once(tmp_path: Path) -> None:
    system = make_system(tmp_path)
    with pytest.raises(RequestError) as caught:
        read([], StoreRoot(tmp_path), system.toplevel, [], build_dependencies=True)
    assert caught.value.problems == (
        f"{tmp_path} holds no Nix database: give closures registration",
    )


def test_a_derivation_that_is_none_is_a_problem_of_the_closure(tmp_path: Path) -> None:
    (tmp_path / "nix/store").mkdir(parents=True)
    (tmp_path / GONE[1:]).write_text("hello")
    (tmp_path / "r").write_bytes(format_registration([PathInfo(GONE, "0" * 64, 1, ())]))
    closure = read([tmp_path / "r"], StoreRoot(tmp_path), GONE, [])
    assert closure.problems(StoreRoot(tmp_path), [GONE]) == [
        f"{GONE} is not a derivation, though its name says so"
    ]
