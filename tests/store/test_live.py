"""What is read from Nix, against what nix-store itself prints.

Without these tests, a closure out of the live store can be incomplete, or have wrong hashes.
"""

from pathlib import Path

import pytest

from assembler.errors import RequestError
from assembler.store import live
from assembler.store.paths import StoreRoot
from tests.support.derivations import make_built
from tests.support.helpers import nix_store, output
from tests.support.systems import make_system, store_path


def test_hashes_sizes_and_references_are_nixs(demo_system: str) -> None:
    infos = live.query(StoreRoot(), [demo_system])
    sample = infos[:: len(infos) // 5]
    for info in [*sample, *(info for info in infos if info.path == demo_system)]:
        printed = [
            output("nix-store", "--query", option, info.path).decode().split()
            for option in ("--hash", "--size", "--references")
        ]
        [base32] = printed[0]
        hexadecimal = output("nix-hash", "--type", "sha256", "--to-base16", base32[7:]).decode()
        assert [hexadecimal.split(), [str(info.nar_size)], list(info.references)] == [
            [info.nar_hash],
            printed[1],
            sorted(printed[2]),
        ]


def test_a_closure_of_several_batches_is_whole(
    demo_system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = live.query(StoreRoot(), [demo_system])
    monkeypatch.setattr(live, "_BATCH", len(whole) // 3)
    assert live.query(StoreRoot(), [demo_system]) == whole


def test_a_store_in_a_directory_is_asked(tmp_path: Path) -> None:
    system = make_system(tmp_path)
    nix_store(tmp_path, "--load-db", stdin=system.registration.read_bytes())
    infos = live.query(StoreRoot(tmp_path), [system.toplevel])
    assert sorted(info.path for info in infos) == sorted(system.paths)


def test_a_directory_without_a_database_is_told_and_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no Nix database: give closures"):
        live.query(StoreRoot(tmp_path), [store_path(1, "x")])
    assert list(tmp_path.iterdir()) == []


def test_only_the_path_that_is_not_valid_is_told(demo_system: str) -> None:
    nowhere = store_path(1, "nowhere")
    with pytest.raises(RequestError) as caught:
        live.query(StoreRoot(), [demo_system, nowhere])
    assert caught.value.problems == (f"{nowhere} is unknown to Nix's database",)


def test_a_home_of_another_user_is_no_obstacle(
    demo_system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/")
    assert live.query(StoreRoot(), [demo_system])


def test_outputs_are_listed_where_they_are_asked_for(tmp_path: Path) -> None:
    built, store = make_built(tmp_path), StoreRoot(tmp_path)
    found = live.query(store, [built.derivation], include_outputs=True)
    assert {info.path for info in found} == built.closure
    alone = {info.path for info in live.query(store, [built.derivation])}
    assert built.closure - alone == set(built.outputs)


def test_the_deriver_is_nixs(demo_system: str) -> None:
    printed = output("nix-store", "--query", "--deriver", demo_system).decode().strip()
    assert live.deriver(StoreRoot(), demo_system) == printed
    assert live.deriver(StoreRoot(), printed) is None


def test_the_deriver_of_an_unknown_path_is_told(tmp_path: Path) -> None:
    make_built(tmp_path)
    nowhere = store_path(1, "nowhere")
    with pytest.raises(RequestError, match=f"^{nowhere} is unknown to Nix's database$"):
        live.deriver(StoreRoot(tmp_path), nowhere)
