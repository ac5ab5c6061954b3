"""Outputs of derivations, against what Nix reads in them.

Without these tests, Nix on the machine can fail to find what a derivation has built, and builds it
again.
"""

from pathlib import Path

import pytest

from assembler.errors import RequestError
from assembler.store.derivation import derivation_problems, read_outputs
from assembler.store.paths import StoreRoot
from tests.support.derivations import binding, instantiate, make_built
from tests.support.helpers import output
from tests.support.systems import store_path

DERIVATION = store_path(1, "x.drv")


def test_outputs_are_nixs(tmp_path: Path) -> None:
    built = make_built(tmp_path)
    found = {drv: read_outputs(StoreRoot(tmp_path), drv) for drv in built.derivations}
    assert found == {drv: binding(tmp_path, drv) for drv in built.derivations}
    assert sorted(found.values(), key=len)[-1].keys() == {"out", "dev"}


def test_outputs_of_every_derivation_of_the_demo_are_nixs(demo_system: str) -> None:
    [deriver] = output("nix-store", "--query", "--deriver", demo_system).decode().split()
    listed = output("nix-store", "--query", "--requisites", deriver).decode().split()
    derivations = [path for path in listed if path.endswith(".drv")]
    printed = output("nix-store", "--query", "--outputs", *derivations).decode().split()
    found = [read_outputs(StoreRoot(), path).values() for path in derivations]
    assert sorted(path for paths in found for path in paths) == sorted(printed)


def test_an_output_that_only_the_build_can_name_is_left_out(tmp_path: Path) -> None:
    text = """derivation {
      name = "floating"; system = "x86_64-linux"; builder = "/bin/sh"; __contentAddressed = true;
      outputHashMode = "recursive"; outputHashAlgo = "sha256"; }"""
    features = {"experimental-features": "ca-derivations"}
    derivation = instantiate(tmp_path, text, **features)
    assert read_outputs(StoreRoot(tmp_path), derivation) == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"Derive(", b"Derive([],[", b'Derive([("out","/x","")],[', b"nonsense\n" * 9],
)
def test_what_is_no_derivation_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "nix/store").mkdir(parents=True)
    (tmp_path / DERIVATION[1:]).write_bytes(content)
    with pytest.raises(RequestError, match=f"{DERIVATION} is not a derivation, though"):
        read_outputs(StoreRoot(tmp_path), DERIVATION)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert derivation_problems(StoreRoot(tmp_path), DERIVATION) == [
        f"cannot read the derivation {DERIVATION}: {tmp_path}{DERIVATION}: "
        "No such file or directory"
    ]
    (tmp_path / DERIVATION[1:]).mkdir(parents=True)
    [line] = derivation_problems(StoreRoot(tmp_path), DERIVATION)
    assert line.endswith("it is not a regular file")


def test_a_link_is_no_derivation(tmp_path: Path) -> None:
    (tmp_path / "nix/store").mkdir(parents=True)
    (tmp_path / DERIVATION[1:]).symlink_to("/etc/passwd")
    [line] = derivation_problems(StoreRoot(tmp_path), DERIVATION)
    assert line == f"{DERIVATION} is not a derivation, but a symlink"
