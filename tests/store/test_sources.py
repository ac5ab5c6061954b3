"""The kind of a closure source is recognised by its content.

Without these tests, a closure can be refused because of the name of its file, or be read as another
kind.
"""

import bz2
import gzip
import lzma
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from assembler.errors import RequestError
from assembler.store import nar
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo, format_registration
from assembler.store.sources import STANDARD_INPUT, brings_files, read_source
from assembler.tree.closure_files import ClosureFiles
from tests.support.helpers import nix_store, registered_system
from tests.support.places import REPOSITORY
from tests.support.systems import make_system, store_path

A, B = store_path(1, "a"), store_path(2, "b")
SHA = "0f" * 32
KNOWN = [PathInfo(A, SHA, 120, ()), PathInfo(B, SHA, 240, (A,))]
UNKNOWN = [info._replace(nar_hash=None, nar_size=None) for info in KNOWN]


def read(source: Path) -> list[PathInfo]:
    return read_source(source, ClosureFiles(StoreRoot(), Path("/nonexistent")).receive)


def test_a_registration_has_hashes_and_a_graph_has_none(tmp_path: Path) -> None:
    (tmp_path / "registration").write_bytes(format_registration(KNOWN))
    (tmp_path / "graph").write_text(f"{A}\n\n0\n{B}\n\n1\n{A}\n")
    (tmp_path / "with-derivers").write_text(f"{A}\n{B}.drv\n0\n{B}\n\n1\n{A}\n")
    assert read(tmp_path / "registration") == KNOWN
    assert read(tmp_path / "graph") == UNKNOWN
    assert read(tmp_path / "with-derivers") == UNKNOWN


def test_a_name_means_nothing(tmp_path: Path) -> None:
    """A source is recognised by its content alone."""
    (tmp_path / "closure.json").write_bytes(format_registration(KNOWN))
    (tmp_path / "registration").write_text(
        " \n" * 50
        + f'[{{"path": "{A}", "narHash": "sha256:{SHA}", "narSize": 120, "references": []}}]'
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
        (gzip.compress(b"x", mtime=0), "is compressed: let `gzip -dc` write it to closures -"),
        (lzma.compress(b"x"), "is compressed: let `xz -dc` write it to closures -"),
        (bz2.compress(b"x"), "is compressed: let `bzip2 -dc` write it to closures -"),
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


@pytest.mark.parametrize("start", [nar.HEADER, b"\x7fELF\2\1\1\0"])
def test_what_is_no_text_is_not_read_to_its_end(tmp_path: Path, start: bytes) -> None:
    """A file of 1 TB, which no memory holds."""
    with (tmp_path / "source").open("wb") as file:
        file.write(start)
        file.truncate(1 << 40)
    with pytest.raises(RequestError, match=r"source is (a NAR|not a registration)"):
        read(tmp_path / "source")


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of one store path that has files."""
    directory = tmp_path_factory.mktemp("export")
    system = registered_system(directory)
    (directory / "export").write_bytes(nix_store(system.root, "--export", system.paths[2]))
    return directory / "export"


def run(source: Path | str, stdin: int | IO[bytes], scratch: Path) -> list[str]:
    """Read an export in another process: what its files turned out to be, and where they lie."""
    script = (
        "import sys; from pathlib import Path\n"
        "from assembler.tree.closure_files import ClosureFiles\n"
        "from assembler.store.paths import StoreRoot\n"
        "from assembler.store.sources import read_source\n"
        "files = ClosureFiles(StoreRoot(Path('/nonexistent')), Path(sys.argv[2]))\n"
        "[info] = read_source(Path(sys.argv[1]), files.receive)\n"
        "shell = files.host(info.path + '/bin/bash')\n"
        "print('unpacked' if files.unpacked else 'stays', shell.read_text().strip())\n"
        "for top in files.trees.values(): print(top.children[b'bin'].children[b'bash'].data.path)"
    )
    argv = [sys.executable, "-c", script, source, scratch]
    done = subprocess.run(argv, stdin=stdin, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("source", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_a_file_as_standard_input_is_read_by_its_own_name(
    export: Path, tmp_path: Path, source: str
) -> None:
    """For other processes of ours, which write the image, have another standard input."""
    with export.open("rb") as stdin:
        assert run(source, stdin, tmp_path) == ["stays #!", str(export)]


def test_an_export_is_read_from_where_standard_input_stands(export: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"line\n" + export.read_bytes())
    with (tmp_path / "file").open("rb") as stdin:
        os.lseek(stdin.fileno(), 5, os.SEEK_SET)
        assert run("-", stdin, tmp_path) == ["stays #!", str(tmp_path / "file")]


@pytest.mark.parametrize("source", ["-", "/dev/stdin"])
def test_a_file_that_has_no_name_any_more(export: Path, tmp_path: Path, source: str) -> None:
    (tmp_path / "file").write_bytes(export.read_bytes())
    with (tmp_path / "file").open("rb") as stdin:
        (tmp_path / "file").unlink()
        found = run(source, stdin, tmp_path)
    # Only of our own standard input do we know that it stays open.
    assert found[0] == ("stays #!" if source == "-" else "unpacked #!")


def test_a_file_that_we_could_not_open_ourselves(export: Path, tmp_path: Path) -> None:
    """Who may read it opens it for us, as `sudo -u` does; so it can be read once."""
    (tmp_path / "file").write_bytes(export.read_bytes())
    with (tmp_path / "file").open("rb") as stdin:
        (tmp_path / "file").chmod(0)
        assert run("-", stdin, tmp_path) == ["unpacked #!"]


def test_a_link_to_an_export_may_change_while_we_work(export: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(export)
    assert run(tmp_path / "link", subprocess.DEVNULL, tmp_path) == ["stays #!", str(export)]


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
