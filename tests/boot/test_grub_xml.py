"""Settings that Nix writes as XML are read with the types that they had.

Without these tests, a setting of the wrong type can get into the menu as another value.
"""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.boot.grub.xml import Settings, read_settings
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from tests.support.boots import path_of, put, to_xml

PATH = path_of("grub-config.xml")


def read(root: Path, content: bytes) -> Settings:
    store = StoreRoot(root)
    put(store, PATH, content)
    return read_settings(store, PATH)


def test_what_nix_writes_is_read(tmp_path: Path) -> None:
    value: dict[str, Any] = {
        "text": "a \"b\" <c> & 'd'\n\té ${e}",
        "number": -1,
        "yes": True,
        "no": False,
        "list": ["a b", ""],
        "null": None,
        "set": {"one": {"a": "1"}, "two": {}},
    }
    found = read(tmp_path, to_xml(tmp_path, value))
    # XML has no tabs in attributes; NixOS reads spaces as well.
    assert found.text("text") == value["text"].replace("\t", " ")
    assert found.text("number") == "-1"
    assert found.number("number", 7) == -1
    assert (found.flag("yes"), found.flag("no"), found.flag("absent")) == (True, False, False)
    assert found.texts("list") == ("a b", "")
    assert (found.text("null", "x"), found.text("absent", "y")) == ("x", "y")
    assert (found.number("absent", 7), found.texts("absent")) == (7, ())
    inner = dict(found.inner("set", "user"))
    assert [*inner] == ["one", "two"]
    assert inner["one"].text("a") == "1"
    assert [*found.inner("absent", "user")] == []
    assert found.problems == []


def test_every_value_of_a_wrong_kind_is_told(tmp_path: Path) -> None:
    value = {"text": ["a"], "flag": "true", "number": "many", "list": ["a", 1], "set": {"one": 1}}
    found = read(tmp_path, to_xml(tmp_path, {**value, "sets": "a"}))
    found.text("text"), found.flag("flag"), found.number("number", 1), found.texts("list")
    found.texts("text"), [*found.inner("set", "user")], [*found.inner("sets", "user")]
    assert found.problems == [
        f"{PATH}: text should be string, not list",
        f"{PATH}: flag should be bool, not string",
        f"{PATH}: number should be a number, not 'many'",
        f"{PATH}: list should be a list of strings",
        f"{PATH}: user 'one' should be a set",
        f"{PATH}: sets should be a set",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is not XML: no element found"),
        (b"<expr><attrs>", "is not XML: no element found"),
        (b"<expr><list/></expr>", "is not a set that Nix wrote"),
        (b"<attrs/>", "is not a set that Nix wrote"),
        (b"\xff", "is not UTF-8"),
        (b"<!DOCTYPE expr><expr><attrs/></expr>", "has a document type"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><expr>&b;</expr>', "has a document type"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(tmp_path, content)
    [problem] = caught.value.problems
    assert problem.startswith(f"{PATH} {expected}")


def test_an_absent_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        read_settings(StoreRoot(tmp_path), PATH)
    assert str(caught.value) == f"{PATH} does not exist"


def test_a_directory_is_told(tmp_path: Path) -> None:
    store = StoreRoot(tmp_path)
    put(store, f"{PATH}/file")
    with pytest.raises(RequestError) as caught:
        read_settings(store, PATH)
    assert (
        str(caught.value)
        == f"GRUB's settings: cannot read {store.host(PATH)}: it is not a regular file"
    )


@settings(max_examples=100)
@given(content=st.one_of(st.binary(max_size=60), st.text("<>/expatrsn='& ").map(str.encode)))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    try:
        found = read(tmp_path_factory.mktemp("store"), content)
    except RequestError as error:
        assert str(error).startswith(PATH)
    else:
        assert found.problems == []
