"""Registrations and hashes, against nix-store and nix-hash.

Without these tests, a registration that was cut short can give an image that lacks store paths.
"""

import base64
import string
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import RequestError
from assembler.store.paths import is_store_path
from assembler.store.registration import (
    PathInfo,
    format_registration,
    parse_hash,
    parse_registration,
)
from tests.support.helpers import nix_store, output
from tests.support.systems import store_path

NIX32 = "0123456789abcdfghijklmnpqrsvwxyz"
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
NAMES = st.text(string.ascii_letters + string.digits + "+-_?=", min_size=1, max_size=60)
PATHS = st.builds("/nix/store/{}-{}".format, st.text(NIX32, min_size=32, max_size=32), NAMES)


@st.composite
def registrations(draw: st.DrawFn) -> list[PathInfo]:
    """Paths that refer to themselves and to those before them, as Nix takes it."""
    paths = draw(st.lists(PATHS, min_size=1, max_size=6, unique=True))
    infos = []
    for index, path in enumerate(paths):
        references = draw(st.lists(st.sampled_from(paths[: index + 1]), unique=True))
        size = draw(st.integers(1, (1 << 63) - 1))
        infos.append(PathInfo(path, draw(HASHES), size, tuple(references)))
    return infos


def normal(infos: Sequence[PathInfo]) -> list[PathInfo]:
    return sorted(info._replace(references=tuple(sorted(info.references))) for info in infos)


TEXT = format_registration(
    [
        PathInfo(store_path(1, "glibc"), "1" * 64, 12345, (store_path(1, "glibc"),)),
        PathInfo(store_path(2, "x"), "2" * 64, 7, (store_path(1, "glibc"), store_path(2, "x"))),
    ]
).decode()


@given(registrations())
@settings(max_examples=10)
def test_nix_loads_what_is_written_and_dumps_what_is_read(infos: list[PathInfo]) -> None:
    with tempfile.TemporaryDirectory() as name:
        nix_store(Path(name), "--load-db", stdin=format_registration(infos))
        dumped = nix_store(Path(name), "--dump-db").decode()
    assert normal(parse_registration(dumped, "dump")) == normal(infos)


@given(registrations())
def test_what_is_written_is_read_back(infos: list[PathInfo]) -> None:
    assert parse_registration(format_registration(infos).decode(), "x") == infos


def test_a_live_registration_is_read_whole(demo_system: str) -> None:
    dump = output("nix-store", "--dump-db").decode()
    paths = [info.path for info in parse_registration(dump, "dump")]
    assert demo_system in paths
    assert len(paths) == len(set(paths)) == sum(map(is_store_path, paths))


@pytest.mark.parametrize("end", range(len(TEXT)))
def test_a_registration_cut_at_any_byte_is_refused(end: int) -> None:
    boundary = TEXT.index(store_path(2, "x"))
    if end in (0, boundary):  # whole records: the closure is incomplete, which another test holds
        assert len(parse_registration(TEXT[:end], "file")) == (end > 0)
    else:
        with pytest.raises(RequestError, match=r"^file(, line \d+: | is cut short: )"):
            parse_registration(TEXT[:end], "file")


def test_a_missing_line_is_named() -> None:
    cut = TEXT[: TEXT.rindex(store_path(2, "x"))]
    with pytest.raises(RequestError) as caught:
        parse_registration(cut, "file")
    path = store_path(2, "x")
    assert str(caught.value) == f"file is cut short: line 13, a reference of {path}, is missing"


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        (1, "/nix/store/x", "line 1: '/nix/store/x' is not a store path"),
        (1, "", "line 1: '' is not a store path"),
        (2, "md5:" + "0" * 32, "line 2: 'md5:0+' is not a SHA-256"),
        (3, "-1", "line 3: '-1' should be the size"),
        (3, "0", "line 3: '0' should be the size"),
        (3, "9" * 19, "line 3: '9+' should be the size"),
        (3, "9" * 5000, "line 3: '9+' should be the size"),
        (3, "\u0661", "line 3: '\u0661' should be the size"),
        (4, "unknown-deriver", "line 4: 'unknown-deriver' is not a store path"),
        (5, "one", "line 5: 'one' should be the number of references"),
        (5, "9" * 18, "is not a SHA-256|is not a store path"),
        (6, "x", "line 6: 'x' is not a store path"),
    ],
)
def test_a_wrong_line_is_named(line: int, text: str, words: str) -> None:
    lines = TEXT.split("\n")
    lines[line - 1] = text
    with pytest.raises(RequestError, match=f"^file, {words}|{words}"):
        parse_registration("\n".join(lines), "file")


@pytest.mark.parametrize("deriver", ["", store_path(3, "x.drv"), "unknown-deriver", "x"])
def test_nix_agrees_on_which_derivers_there_are(tmp_path: Path, deriver: str) -> None:
    lines = TEXT.split("\n")
    lines[3] = deriver
    text = "\n".join(lines)
    load = ["nix-store", "--store", f"local?root={tmp_path}", "--load-db"]
    done = subprocess.run(load, input=text.encode(), capture_output=True)
    try:
        assert len(parse_registration(text, "file")) == 2
        assert done.returncode == 0
    except RequestError:
        assert done.returncode != 0


@given(st.text("\n0/x-" + TEXT[:60] + "\r\0\x85\u2028"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_registration(text, "file")
    except RequestError as error:
        assert str(error).startswith("file")


@given(st.lists(HASHES, min_size=1, max_size=100))
@settings(max_examples=5)
def test_hashes_are_read_as_nix_writes_them(digests: list[str]) -> None:
    converted = output("nix-hash", "--type", "sha256", "--to-base32", *digests).decode().split()
    for digest, base32 in zip(digests, converted, strict=True):
        sri = "sha256-" + base64.b64encode(bytes.fromhex(digest)).decode()
        for text in (digest, base32, f"sha256:{digest}", f"sha256:{base32}", sri):
            assert parse_hash(text) == digest


@given(st.lists(st.text(NIX32, min_size=52, max_size=52), min_size=1, max_size=3))
@settings(max_examples=5)
def test_nix_agrees_on_which_base_32_is_a_hash(texts: list[str]) -> None:
    for text in texts:
        asked = ["nix-hash", "--type", "sha256", "--to-base16", text]
        printed = subprocess.run(asked, capture_output=True, text=True, check=False)
        try:
            assert parse_hash(text) == printed.stdout.strip()
        except ValueError:
            assert printed.returncode


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256-",
        "sha1:" + "0" * 40,
        "0" * 63,
        "g" * 64,
        "e" * 52,
        "z" * 52,
        "sha256:sha256:" + "0" * 64,
        "sha256-" + base64.b64encode(b"\0" * 26).decode(),
        "sha256-" + base64.b64encode(b"\0" * 31).decode(),
        "sha256-" + "\u0661" * 44,
        "sha256-" + "A" * 43,
        "\u0660" * 64,
    ],
)
def test_what_is_no_hash_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a SHA-256") as caught:
        parse_hash(text)
    assert repr(text) in str(caught.value)


@given(st.text(NIX32 + "sha256:-=+/ABe", max_size=70))
def test_any_text_is_a_hash_or_a_value_error(text: str) -> None:
    try:
        assert len(bytes.fromhex(parse_hash(text))) == 32
    except ValueError as error:
        assert repr(text) in str(error)
