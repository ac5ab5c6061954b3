"""What a closure source is told for, by its content."""

import bz2
import gzip
import lzma
import os
from pathlib import Path

import pytest

from assembler.errors import RequestError
from assembler.root.files import Files
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo, format_registration
from assembler.store.sources import STANDARD_INPUT, brings_files, read_source
from tests.helpers import nix_store
from tests.systems import make_system, store_path

A, B = store_path(1, "a"), store_path(2, "b")
SHA = "0f" * 32
KNOWN = [PathInfo(A, SHA, 120, ()), PathInfo(B, SHA, 240, (A,))]
UNKNOWN = [info._replace(nar_hash=None, nar_size=None) for info in KNOWN]


def read(source: Path) -> list[PathInfo]:
    return read_source(source, Files(StoreRoot(), Path("/nonexistent")).receive)


def test_a_registration_has_hashes_and_a_graph_has_none(tmp_path: Path) -> None:
    (tmp_path / "registration").write_bytes(format_registration(KNOWN))
    (tmp_path / "graph").write_text(f"{A}\n\n0\n{B}\n\n1\n{A}\n")
    (tmp_path / "with-derivers").write_text(f"{A}\n{B}.drv\n0\n{B}\n\n1\n{A}\n")
    assert read(tmp_path / "registration") == KNOWN
    assert read(tmp_path / "graph") == UNKNOWN
    assert read(tmp_path / "with-derivers") == UNKNOWN


def test_a_name_means_nothing(tmp_path: Path) -> None:
    """Only what is in a file tells what it is."""
    (tmp_path / "closure.json").write_bytes(format_registration(KNOWN))
    (tmp_path / "registration").write_text(
        f' \n [{{"path": "{A}", "narHash": "sha256:{SHA}", "narSize": 120, "references": []}}]'
    )
    assert read(tmp_path / "closure.json") == KNOWN
    assert read(tmp_path / "registration") == KNOWN[:1]
    assert read(tmp_path) == KNOWN[:1]  # a directory is a closureInfo's


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a registration: it is empty"),
        (b"\xff\xfe", "is not a registration: it is not text"),
        (b"text\0" * 9, "is not a registration: it is not text"),
        (gzip.compress(b"x"), "is compressed: let `gzip -dc` write it to --closure -"),
        (lzma.compress(b"x"), "is compressed: let `xz -dc` write it to --closure -"),
        (bz2.compress(b"x"), "is compressed: let `bzip2 -dc` write it to --closure -"),
        (f"{A}\n".encode(), "is cut short: line 2, .*-a, is missing"),
        (f"{A}\n\n".encode(), "line 3, the number of references of .*-a, is missing"),
        (f"{A}\n\n1\n".encode(), "line 4, a reference of .*-a, is missing"),
        (f"{A}\n\n0\n{A}\n\n0\n".encode(), f"{A} is there twice"),
        (b"/etc/passwd\n\n0\n", "line 1: '/etc/passwd' is not a store path"),
        (f"{A}\r\n{SHA}\r\n".encode(), "line 1: .* is not a store path"),
        (b"[1, 2]", "holds no registration"),
    ],
)
def test_what_is_no_source_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "source").write_bytes(content)
    with pytest.raises(RequestError, match=words):
        read(tmp_path / "source")


def test_a_directory_without_a_registration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"cannot read the closure .*/registration: No such"):
        read(tmp_path)


def test_a_source_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "source").touch(mode=0)
    with pytest.raises(RequestError, match=r"cannot read the closure .*source: Permission denied"):
        read(tmp_path / "source")


def test_which_sources_bring_files(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    nix_store(system.root, "--load-db", stdin=system.registration.read_bytes())
    (tmp_path / "export").write_bytes(nix_store(system.root, "--export", system.paths[0]))
    os.mkfifo(tmp_path / "pipe")
    assert brings_files(STANDARD_INPUT)
    assert brings_files(tmp_path / "export")
    assert brings_files(tmp_path / "pipe")
    assert not brings_files(system.registration)
    assert not brings_files(tmp_path)
    assert not brings_files(tmp_path / "nowhere")
