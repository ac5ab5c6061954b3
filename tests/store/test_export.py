"""Exports, made and taken by `nix-store` itself.

Without these tests, a damaged export can become an image without a warning.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from assembler.errors import HostError, RequestError
from assembler.store import nar
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo
from assembler.store.sources import read_source
from assembler.tree.closure_files import ClosureFiles
from tests.support.helpers import (
    closure_of,
    export_to,
    nix_store,
    output,
    real_info,
    registered_system,
    verify,
)
from tests.support.places import AsRoot
from tests.support.systems import System, store_path


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return registered_system(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def export(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_to(tmp_path_factory.mktemp("export") / "closure", system)


def read(file: Path, scratch: Path) -> tuple[list[PathInfo], ClosureFiles]:
    files = ClosureFiles(StoreRoot(Path("/nonexistent")), scratch)
    return read_source(file, files.receive), files


def read_pipe(content: bytes, scratch: Path) -> tuple[list[PathInfo], ClosureFiles]:
    """Read an export from a named pipe."""
    pipe, file = scratch / "pipe", scratch / "content"
    os.mkfifo(pipe)
    file.write_bytes(content)
    with subprocess.Popen(["sh", "-c", 'cat "$0" > "$1"', file, pipe], stderr=subprocess.DEVNULL):
        return read(pipe, scratch)


def test_a_file_has_all_but_the_hashes(system: System, export: Path, tmp_path: Path) -> None:
    infos, files = read(export, tmp_path)
    closure, _ = closure_of(system)
    expected = [info._replace(nar_hash=None) for info in closure.infos]
    assert sorted(i._replace(references=tuple(sorted(i.references))) for i in infos) == [
        info._replace(references=tuple(sorted(info.references))) for info in expected
    ]
    assert sorted(files.trees) == closure.paths
    assert list(tmp_path.iterdir()) == []


def test_what_is_needed_is_taken_out(system: System, export: Path, tmp_path: Path) -> None:
    _, files = read(export, tmp_path)
    for path in (f"{system.toplevel}/boot.json", system.paths[2], f"{system.paths[2]}/bin"):
        taken, there = files.host(path), system.host(path)
        assert output("diff", "-r", "--no-dereference", there, taken) == b""
        assert taken.lstat().st_mode & 0o111 == there.lstat().st_mode & 0o111
    assert not files.host(f"{system.toplevel}/nowhere").exists()
    assert files.fault(f"{system.toplevel}/nowhere") == "No such file or directory"
    assert files.fault(system.toplevel) == ""
    assert files.is_file(f"{system.toplevel}/init")
    assert not files.is_file(f"{system.toplevel}/sw")
    assert files.resolve(f"{system.toplevel}/sw/bin/sh") == f"{system.paths[2]}/bin/bash"


def test_a_pipe_is_unpacked_as_nix_would(system: System, export: Path, tmp_path: Path) -> None:
    infos, files = read_pipe(export.read_bytes(), tmp_path)
    root = tmp_path / "unpacked"
    for info in infos:
        known = real_info(system.root, info.path, info.references)
        assert info == known == real_info(root, info.path, info.references)
        assert files.host(info.path) == root / info.path[1:]
    assert files.unpacked == set(system.paths)
    found = output("find", root / "nix/store", "-mindepth", "1", "-printf", "%y%m %T@\\n").decode()
    assert set(found.splitlines()) == {
        f"{kind} 1.0000000000" for kind in ("d555", "f444", "f555", "l777")
    }
    nix_store(root, "--load-db", stdin=system.registration.read_bytes())
    assert verify(root) == ""


def place_of(message: str) -> int:
    found = re.search(r": byte (\d+) ", message)
    assert found, message
    return int(found[1])


@pytest.mark.parametrize("by_pipe", [False, True])
def test_an_export_that_is_cut_is_told_with_byte_and_path(
    system: System, export: Path, tmp_path: Path, by_pipe: bool
) -> None:
    content = export.read_bytes()
    for cut in (1, 8, 100, 50_000, len(content) // 2, len(content) - 300, len(content) - 1):
        scratch = tmp_path / str(cut)
        scratch.mkdir()
        with pytest.raises(RequestError) as caught:
            if by_pipe:
                read_pipe(content[:cut], scratch)
            else:
                (scratch / "cut").write_bytes(content[:cut])
                read(scratch / "cut", scratch)
        [line] = caught.value.problems
        assert place_of(line) == cut, line
        assert re.search(r": store path \d(, which follows /nix/store/\S+)?$", line), line
    assert f"which follows {system.paths[-2]}" not in line or "store path 4" in line


def test_bytes_that_are_wrong_are_told(export: Path, tmp_path: Path) -> None:
    content = export.read_bytes()
    mark = content.index((0x4558494E).to_bytes(8, "little"))
    first = content.index(b"/nix/store/", mark)
    length = content[first - 8]
    count = first + length + -length % 8
    cases = {
        "should be the mark after a NAR": content[:mark] + b"\1" + content[mark + 1 :],
        "which is not a store path": content[:first] + b"/nix/XXXXX" + content[first + 10 :],
        "is after the end of the export; exports cannot be joined": content + b"x",
        "should be one more store path": content[:-8] + b"\2" + bytes(7),
        "unlikely number of references": content[:count] + b"\xff" * 6 + content[count + 6 :],
    }
    for words, broken in cases.items():
        (tmp_path / "broken").write_bytes(broken)
        with pytest.raises(RequestError, match=words) as caught:
            read(tmp_path / "broken", tmp_path)
        place_of(str(caught.value))


A, B = store_path(1, "a"), store_path(2, "b")
FILE = nar.HEADER + nar.regular(2, executable=False) + b"hi" + nar.regular_end(2)


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def record(
    path: str, *, references: Sequence[str] = (), deriver: str = "", signature: bytes = number(0)
) -> bytes:
    """One store path of an export."""
    words = [path, number(len(references)), *references, deriver]
    strings = [w if isinstance(w, bytes) else nar.string(w.encode()) for w in words]
    return number(1) + FILE + number(0x4558494E) + b"".join(strings) + signature


TAKEN = [
    record(A),
    record(A, references=[A]),
    record(A, deriver=B),
    record(A) + record(B, references=[A]),
    record(A, signature=number(1) + nar.string(b"what Nix 1 signed")) + record(B),
]
REFUSED = {
    "'garbage', which is not a store path": record(A, deriver="garbage"),
    "'/nix/store/x', which is not a store path": record(A, references=["/nix/store/x"]),
    f"'{A[11:]}', which is not a store path": record(A[11:]),
    "should be the end of a file": record(A).replace(b"hi\0", b"hi\1"),
    "should be followed by zeros only": record(A).replace(b"-a\0", b"-a\1"),
    "should be the mark after a NAR": record(A).replace(number(0x4558494E), number(0x4558494F)),
    "should be one more store path": record(A) + number(2) + record(B)[8:],
}


def imported(content: bytes, as_root: AsRoot, tmp_path: Path) -> list[str] | None:
    """What Nix imports, or None when it refuses to; it gives files away, so only root may."""
    (tmp_path / "content").write_bytes(content)
    script = f"nix-store --store 'local?root={tmp_path}/imported' --import < {tmp_path}/content"
    options = "--option require-sigs false --option build-users-group ''"
    done = as_root("sh", "-c", f"NIX_REMOTE= {script} {options}", check=False)
    as_root("rm", "-rf", f"{tmp_path}/imported")
    return done.stdout.split() if done.returncode == 0 else None


@pytest.mark.parametrize("content", TAKEN)
def test_what_nix_takes_is_taken(content: bytes, as_root: AsRoot, tmp_path: Path) -> None:
    (tmp_path / "export").write_bytes(content + number(0))
    infos, _ = read(tmp_path / "export", tmp_path)
    assert [i.path for i in infos] == imported(content + number(0), as_root, tmp_path)


@pytest.mark.parametrize(("words", "content"), REFUSED.items())
def test_what_nix_refuses_is_refused(
    words: str, content: bytes, as_root: AsRoot, tmp_path: Path
) -> None:
    (tmp_path / "export").write_bytes(content + number(0))
    with pytest.raises(RequestError, match=words):
        read(tmp_path / "export", tmp_path)
    assert imported(content + number(0), as_root, tmp_path) is None


def test_an_empty_export_registers_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(bytes(8))
    with pytest.raises(RequestError, match="empty registers no store path"):
        read(tmp_path / "empty", tmp_path)


def test_a_path_that_comes_twice_is_refused(system: System, tmp_path: Path) -> None:
    [shell] = [path for path in system.paths if path.endswith("bash-5")]
    one = nix_store(system.root, "--export", shell)
    (tmp_path / "twice").write_bytes(one[:-8] + one)
    with pytest.raises(RequestError, match=f"twice: {shell} is there twice"):
        read(tmp_path / "twice", tmp_path)


def test_a_nar_is_told_from_an_export(system: System, tmp_path: Path) -> None:
    (tmp_path / "nar").write_bytes(output("nix-store", "--dump", system.host(system.paths[0])))
    with pytest.raises(RequestError, match="nar is a NAR, which names no store path"):
        read(tmp_path / "nar", tmp_path)


def test_a_full_disk_is_told(export: Path, tmp_path: Path) -> None:
    """Unpacking into a place that may not be written."""
    (tmp_path / "unpacked").mkdir(mode=0o500)
    with pytest.raises(HostError, match=r"unpacking the export: .*Permission denied"):
        read_pipe(export.read_bytes(), tmp_path)


def test_a_long_export_is_indexed_without_reading_its_data(tmp_path: Path) -> None:
    """A file of 40 GB, nearly all of it a hole: reading that would take half a minute."""
    top = store_path(1, "large")
    host = tmp_path / top[1:]
    host.mkdir(parents=True)
    small = output("nix-store", "--dump", host)
    assert small
    size = 40 << 30
    head = (1).to_bytes(8, "little") + nar.HEADER + nar.regular(size, executable=False)
    tail = nar.regular_end(size) + (0x4558494E).to_bytes(8, "little") + nar.string(top.encode())
    tail += bytes(8) + nar.string(b"") + bytes(8) + bytes(8)
    with (tmp_path / "export").open("wb") as file:
        file.write(head)
        file.seek(size, os.SEEK_CUR)
        file.write(tail)
    [info], _ = read(tmp_path / "export", tmp_path)
    assert info.path == top
    assert info.nar_size == len(head) - 8 + size + len(nar.regular_end(size))
