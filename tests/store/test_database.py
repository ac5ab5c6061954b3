"""The Nix database, against nix-store and sqlite3.

Without these tests, Nix on the machine can miss store paths, or the same input gives other bytes.
"""

import os
import random
from pathlib import Path

import pytest

from assembler.errors import HostError, InternalError
from assembler.store import database
from assembler.store.closure import Closure
from assembler.store.database import make_database
from assembler.store.live import query
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo, format_registration
from tests.support.derivations import make_built
from tests.support.helpers import closure_of, nix_store, output
from tests.support.systems import make_system, store_path

HASH = "0" * 64
A, B = store_path(1, "a"), store_path(2, "b")
INFOS = (PathInfo(A, HASH, 1, (A,)), PathInfo(B, "1" * 64, 2, (A, B)))


def made(directory: Path, infos: tuple[PathInfo, ...] = INFOS, epoch: int = 1) -> bytes:
    """The bytes of a database made in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    make_database(infos, StoreRoot(directory), directory, epoch)
    return (directory / "db.sqlite").read_bytes()


def ask(file: Path, question: str) -> str:
    return output("sqlite3", "-readonly", file, question).decode().strip()


def test_nix_reads_it_back(tmp_path: Path) -> None:
    system = make_system(tmp_path)
    closure, _ = closure_of(system)
    made(tmp_path / "nix/var/nix/db", closure.infos)
    assert sorted(query(StoreRoot(tmp_path), [system.toplevel])) == list(closure.infos)
    printed = nix_store(tmp_path, "--query", "--referrers", system.paths[0]).decode().split()
    assert printed == [system.toplevel]


def test_sqlite_finds_it_sound(tmp_path: Path) -> None:
    made(tmp_path)
    assert ask(tmp_path / "db.sqlite", "pragma integrity_check") == "ok"
    assert ask(tmp_path / "db.sqlite", "pragma foreign_key_check") == ""
    assert ask(tmp_path / "db.sqlite", "pragma journal_mode") == "delete"


def test_every_path_has_the_epoch_as_its_time(tmp_path: Path) -> None:
    made(tmp_path, epoch=1700000000)
    rows = ask(tmp_path / "db.sqlite", "select distinct registrationTime from ValidPaths")
    assert rows == "1700000000"


def test_nothing_else_is_left_there(tmp_path: Path) -> None:
    made(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["db.sqlite", "schema"]
    assert (tmp_path / "schema").read_text() == "10"


def test_it_names_no_place_of_this_host(tmp_path: Path) -> None:
    assert b"/tmp" not in made(tmp_path)


def test_the_same_closure_gives_the_same_bytes(demo_system: str, tmp_path: Path) -> None:
    infos = query(StoreRoot(), [demo_system])
    first = made(tmp_path / "a", Closure.merge(infos).infos)
    shuffled = [
        info._replace(references=tuple(random.sample(info.references, len(info.references))))
        for info in random.sample(infos, len(infos))
    ]
    assert made(tmp_path / "another/place", Closure.merge(shuffled).infos) == first


def test_even_unsorted_paths_give_the_same_bytes(tmp_path: Path) -> None:
    assert made(tmp_path / "a") == made(tmp_path / "b", INFOS[::-1])


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_all_may_read_it_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        made(tmp_path / "db")
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o7777 for path in (tmp_path / "db").iterdir()}
    assert modes == {0o644}


def test_the_log_of_an_older_database_goes(tmp_path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        (tmp_path / f"db.sqlite{suffix}").write_bytes(b"old")
    made(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["db.sqlite", "schema"]


def test_what_nix_refuses_is_told_with_its_words(tmp_path: Path) -> None:
    infos = (PathInfo(A, HASH, 1, (B,)), PathInfo(B, HASH, 1, (A,)))
    with pytest.raises(HostError, match=r"making the Nix database: nix-store .*\n.*\n.*cycle"):
        make_database(infos, StoreRoot(tmp_path), tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


def build_closure(demo_system: str) -> list[PathInfo]:
    [deriver] = output("nix-store", "--query", "--deriver", demo_system).decode().split()
    return query(StoreRoot(), [deriver], include_outputs=True)


def test_the_outputs_of_derivations_are_known(demo_system: str, tmp_path: Path) -> None:
    infos = build_closure(demo_system)
    make_database(infos, StoreRoot(), tmp_path, 1)
    rows = ask(
        tmp_path / "db.sqlite",
        "select v.path, o.id, o.path from DerivationOutputs o, ValidPaths v where v.id = o.drv",
    )
    derivations = [info.path for info in infos if info.path.endswith(".drv")]
    printed = output("nix-store", "--query", "--outputs", *derivations).decode().split()
    assert sorted(rows.splitlines()) == [
        f"{drv}|out|{path}" for drv, path in zip(derivations, printed, strict=True)
    ]


def test_derivations_make_no_difference_between_runs(demo_system: str, tmp_path: Path) -> None:
    infos = build_closure(demo_system)
    databases = []
    for name, order in (("a", infos), ("elsewhere/b", random.sample(infos, len(infos)))):
        directory = tmp_path / name
        directory.mkdir(parents=True)
        make_database(order, StoreRoot(), directory, 1)
        databases.append((directory / "db.sqlite").read_bytes())
    assert databases[0] == databases[1]
    assert b"/tmp" not in databases[0]


def test_a_derivation_of_several_outputs(tmp_path: Path) -> None:
    built = make_built(tmp_path / "store")
    store = StoreRoot(tmp_path / "store")
    infos = query(store, [built.derivation], include_outputs=True)
    make_database(infos, store, tmp_path, 1)
    question = "select path from DerivationOutputs"
    assert sorted(ask(tmp_path / "db.sqlite", question).split()) == sorted(built.outputs)


def test_a_derivation_whose_output_is_not_valid_is_registered_all_the_same(tmp_path: Path) -> None:
    built = make_built(tmp_path / "store")
    store = StoreRoot(tmp_path / "store")
    infos = query(store, [built.derivation])
    make_database(infos, store, tmp_path, 1)
    count = ask(tmp_path / "db.sqlite", "select count(*) from DerivationOutputs")
    assert int(count) == len(built.outputs)


@pytest.mark.parametrize(
    "wrong",
    [
        INFOS[:1],
        (*INFOS, PathInfo(store_path(3, "c"), HASH, 1, ())),
        (INFOS[0]._replace(nar_hash="2" * 64), INFOS[1]),
        (INFOS[0]._replace(nar_size=2), INFOS[1]),
        (INFOS[0]._replace(references=()), INFOS[1]),
        # As many references, but others.
        (INFOS[0]._replace(references=(B,)), INFOS[1]._replace(references=(B, B))),
        (INFOS[0]._replace(references=()), INFOS[1]._replace(references=(A, B))),
    ],
)
def test_a_database_that_is_not_the_closure_is_our_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: tuple[PathInfo, ...]
) -> None:
    registration = format_registration(wrong)
    monkeypatch.setattr(database, "format_registration", lambda _: registration)
    with pytest.raises(InternalError, match=r"the Nix database has .*, where the closure has "):
        make_database(INFOS, StoreRoot(tmp_path), tmp_path, 1)
    assert not (tmp_path / "db.sqlite").exists()


def test_outputs_that_are_not_the_derivations_are_our_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = make_built(tmp_path / "store")
    store = StoreRoot(tmp_path / "store")
    infos = query(store, [built.derivation], include_outputs=True)
    monkeypatch.setattr(database, "read_outputs", lambda *_: {"out": built.system})
    with pytest.raises(InternalError, match=r"the Nix database has .*, where the closure has "):
        make_database(infos, store, tmp_path, 1)
