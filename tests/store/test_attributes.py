"""Registrations in JSON, those of Nix 2.8 made by Nix itself.

What later releases print is written down here as their manual has it: nix.dev/manual/nix/2.33,
protocols/json/store-object-info and protocols/json/hash.

Without these tests, a closure that is described in JSON can be refused, or get wrong hashes.
"""

import json
from typing import Any

import pytest

from assembler.errors import RequestError
from assembler.store.attributes import parse_json
from assembler.store.live import query
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo
from tests.support.helpers import output
from tests.support.systems import store_path

A, B = store_path(1, "a"), store_path(2, "b")
SHA = "0f" * 32
SRI = "sha256-Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8="
NIX32 = "03qg1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3qg"
INFOS = [PathInfo(A, SHA, 120, ()), PathInfo(B, SHA, 240, (A, B))]


def fields(**more: Any) -> dict[str, Any]:
    return {"narHash": SRI, "narSize": 120, "references": [], "deriver": None, **more}


def parse(document: object) -> list[PathInfo]:
    return parse_json(json.dumps(document).encode(), "x.json")


ENTRIES = {A: fields(), B: fields(narSize=240, references=[A, B])}
LISTED = [{"path": path, **about} for path, about in ENTRIES.items()]
SHORT = {
    path[11:]: {**about, "references": [one[11:] for one in about["references"]]}
    for path, about in ENTRIES.items()
}


@pytest.mark.parametrize(
    "document",
    [
        LISTED,
        ENTRIES,
        {"version": 2, "storeDir": "/nix/store", "info": SHORT},
        {"graph": LISTED, "name": "x", "exportReferencesGraph": {"graph": [B]}, "outputs": {}},
        {"one": LISTED[:1], "two": LISTED, "env": {"PATH": "/x"}},
        {"graph": ENTRIES, "builder": "/bin/sh"},
    ],
)
def test_every_form_is_read(document: object) -> None:
    assert parse(document) == INFOS


@pytest.mark.parametrize(
    "hash_",
    [
        SRI, f"sha256:{SHA}", f"sha256:{NIX32}", SHA,
        {"algorithm": "sha256", "format": "base16", "hash": SHA},
        {"algorithm": "sha256", "format": "nix32", "hash": NIX32},
        {"algorithm": "sha256", "format": "base64", "hash": SRI[7:]},
    ],
)  # fmt: skip
def test_every_form_of_a_hash_is_read(hash_: object) -> None:
    assert parse([{"path": A, **fields(narHash=hash_)}]) == INFOS[:1]


def test_what_nix_prints_is_what_the_store_has(demo_system: str) -> None:
    command = ["nix", "--extra-experimental-features", "nix-command", "path-info", "--json", "-r"]
    found = parse_json(output(*command, demo_system), "path-info")
    assert sorted(found) == sorted(query(StoreRoot(), [demo_system]))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([{"path": "/etc", **fields()}], "'/etc' is not a store path"),
        ([{"path": A, **fields(references=["/x"])}], f"{A} refers to '/x', which is not a store"),
        ([{"path": A, **fields(references="x")}], f"{A} has no list of references"),
        ([{k: v for k, v in LISTED[0].items() if k != "references"}], f"{A} has no list of refer"),
        ([{"path": A, "valid": False}], f"{A} is not valid in its store"),
        ([LISTED[1], {"path": A, "references": []}], f"the narSize of {A} is None"),
        ([LISTED[1], "x"], "'x' is not a store path"),
        ({"version": 2, "storeDir": "/gnu/store", "info": SHORT}, "is for another store, /gnu/st"),
        ([{"path": A, **fields(narSize=0)}], f"the narSize of {A} is 0"),
        ([{"path": A, **fields(narSize="9")}], f"the narSize of {A} is '9'"),
        ([{"path": A, **fields(narSize=True)}], f"the narSize of {A} is True"),
        ([{"path": A, **fields(narHash="md5:x")}], f"the narHash of {A}: 'md5:x' is not a SHA-256"),
        ([{"path": A, **fields(narHash=None)}], f"the narHash of {A}: None is not a SHA-256"),
        ([{"path": A, **fields(narHash={"algorithm": "md5"})}], f"the narHash of {A}: .*md5"),
        ([LISTED[0], LISTED[0]], f"{A} is there twice"),
        ([LISTED[0], {**LISTED[0], "narSize": 7}], f"{A} is there twice, with two registrations"),
        ({A: None, B: fields()}, f"{A} is not valid in its store"),
        ([], "holds no registration"),
        ({}, "holds no registration"),
        ({"graph": [1, 2]}, "holds no registration"),
        ("text", "holds no registration"),
    ],
)
def test_what_is_wrong_is_told(document: object, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        parse(document)


def test_every_problem_is_told() -> None:
    bad = [{"path": A, **fields(narSize=0)}, {"path": B, **fields(narHash="x")}]
    with pytest.raises(RequestError) as caught:
        parse(bad)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1', r"^x.json is not JSON \(line 1, column 8\)$"),
        ("[" * 100_000, "^x.json is not JSON that can be read: .* nested too deeply$"),
        (f'{{"{A}": {{}}, "{A}": {{}}}}', f"^x.json: the key '{A}' is there twice"),
    ],
)
def test_what_is_no_json_is_told(text: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        parse_json(text.encode(), "x.json")
