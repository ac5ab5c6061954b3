"""Exports unpacked, against `nix-store --restore` and Nix's own modes and times.

Without these tests, an export can write outside of the root that it fills, or leave half a store
path there.
"""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings

from assembler.errors import HostError
from assembler.store import nar
from assembler.store.stream import Stream, StreamError
from assembler.tree.canonical import is_canonical
from assembler.tree.restore import Restorer
from tests.store.test_nar import SHAPES, Shape, dump, make
from tests.support.helpers import directory, output, verify
from tests.support.places import AsRoot
from tests.support.systems import make_system, store_path

A, B = store_path(1, "a"), store_path(2, "b")


def take(restorer: Restorer, content: bytes, path: str = A) -> tuple[str, int]:
    """Give a restorer one NAR by a pipe."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        assert cat.stdin is not None
        assert cat.stdout is not None
        with cat.stdin:
            cat.stdin.write(content)
        return read(restorer, cat.stdout.fileno(), path)


def read(restorer: Restorer, handle: int, path: str = A) -> tuple[str, int]:
    """Give a restorer the NAR that a file descriptor has."""
    stream = Stream(handle)
    restorer.begin(stream)
    nar.read_nar(stream, restorer)
    restorer.end(stream)
    return restorer.finish(path)


def take_file(restorer: Restorer, file: Path, path: str = A) -> tuple[str, int]:
    with file.open("rb") as opened:
        return read(restorer, opened.fileno(), path)


def shown(top: Path) -> list[str]:
    """Every inode below a directory, with its mode, time, size and target."""
    lines = output("find", top, "-printf", "%P\\0%y %m %T@ %l\\0\\n")
    return sorted(os.fsdecode(line) for line in lines.split(b"\0\n"))


@settings(max_examples=40)
@given(SHAPES)
def test_a_nar_is_unpacked_as_nix_would(shape: Shape) -> None:
    with directory() as scratch:
        make(os.fsencode(scratch / "top"), shape)
        content = dump(scratch / "top")
        (scratch / "nar").write_bytes(content)
        found = take_file(Restorer(scratch / "root"), scratch / "nar")
        there = scratch / "root" / A[1:]
        assert found == (hashlib.sha256(content).hexdigest(), len(content))
        assert dump(there) == content
        for line in shown(there):
            if line:
                about = line.rpartition("\0")[2].split()
                assert about[:3] in (
                    ["d", "555", "1.0000000000"],
                    ["f", "444", "1.0000000000"],
                    ["f", "555", "1.0000000000"],
                    ["l", "777", "1.0000000000"],
                )
        output("chmod", "-R", "u+w", scratch)


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_the_umask_is_no_matter(tmp_path: Path, umask: int) -> None:
    make(os.fsencode(tmp_path / "top"), {b"d": {b"f": (b"x", True)}, b"l": b"t"})
    (tmp_path / "root/nix/store").mkdir(parents=True)
    restorer = Restorer(tmp_path / "root")
    content = dump(tmp_path / "top")
    before = os.umask(umask)
    try:
        take(restorer, content)
    finally:
        os.umask(before)
    top = tmp_path / "root" / A[1:]
    for path in (top, top / "d", top / "d/f"):
        assert is_canonical(path.stat(), 0o555)


SORTS: list[Shape] = [{b"f": (b"text", False)}, {}, (b"text", True), b"/nowhere"]


@pytest.mark.parametrize("before", SORTS)
@pytest.mark.parametrize("after", SORTS)
def test_what_is_there_is_replaced(tmp_path: Path, before: Shape, after: Shape) -> None:
    restorer = Restorer(tmp_path)
    for name, shape in (("before", before), ("after", after)):
        make(os.fsencode(tmp_path / name), shape)
        content = dump(tmp_path / name)
        take(restorer, content)
        assert dump(tmp_path / A[1:]) == content
    assert os.listdir(tmp_path / "nix/store") == [A[11:]]
    assert restorer.paths == {A}


def test_what_cannot_be_read_is_replaced(tmp_path: Path) -> None:
    """As a file of no mode, or what no store path holds."""
    make(os.fsencode(tmp_path / "top"), {b"file": (b"new", False)})
    content = dump(tmp_path / "top")
    for number in range(2):
        root = tmp_path / str(number)
        (root / A[1:]).mkdir(parents=True)
        if number:
            (root / A[1:] / "file").touch(mode=0)
        else:
            os.mkfifo(root / A[1:] / "file")
        take(Restorer(root), content)
        assert dump(root / A[1:]) == content


def test_what_is_the_same_stays(tmp_path: Path) -> None:
    """It may be in use, as where --force fills the root of this machine."""
    make(os.fsencode(tmp_path / "top"), {b"file": (b"text", True), b"link": b"file"})
    content = dump(tmp_path / "top")
    take(Restorer(tmp_path), content)
    before = output("find", tmp_path / A[1:], "-printf", "%P %i %C@\\n")
    take(Restorer(tmp_path), content)
    assert output("find", tmp_path / A[1:], "-printf", "%P %i %C@\\n") == before
    assert os.listdir(tmp_path / "nix/store") == [A[11:]]


def test_a_link_of_that_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("kept")
    (tmp_path / "nix/store").mkdir(parents=True)
    for name in (A[11:], ".unfinished"):
        (tmp_path / "nix/store" / name).symlink_to(tmp_path / "elsewhere")
    make(os.fsencode(tmp_path / "top"), {b"file": (b"new", False)})
    take(Restorer(tmp_path), dump(tmp_path / "top"))
    assert (tmp_path / A[1:] / "file").read_text() == "new"
    assert (tmp_path / "elsewhere/file").read_text() == "kept"


def test_the_files_of_a_hard_linked_path_keep_their_modes(tmp_path: Path) -> None:
    """What is replaced may be what `prepare-root --copy-mode hardlink` put there."""
    kept = tmp_path / "kept"
    kept.write_text("kept")
    kept.chmod(0o444)
    (tmp_path / A[1:]).mkdir(parents=True)
    (tmp_path / A[1:] / "file").hardlink_to(kept)
    (tmp_path / A[1:]).chmod(0o555)
    make(os.fsencode(tmp_path / "top"), {b"file": (b"new", False)})
    take(Restorer(tmp_path), dump(tmp_path / "top"))
    assert output("stat", "-c", "%a %h", kept) == b"444 1\n"
    assert kept.read_text() == "kept"


def test_a_path_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    system = make_system(tmp_path / "from")
    kernel, initrd = (dump(system.host(path)) for path in system.paths[:2])
    restorer = Restorer(tmp_path / "root")
    store = tmp_path / "root/nix/store"
    take(restorer, kernel, A)
    for cut in range(0, len(initrd), 4999):
        with pytest.raises(StreamError):
            take(restorer, initrd[:cut], B)
        assert {*os.listdir(store)} == {A[11:], ".unfinished"}
    again = Restorer(tmp_path / "root")  # another run completes it
    take(again, initrd, B)
    assert {*os.listdir(store)} == {A[11:], B[11:]}
    assert (restorer.paths, again.paths) == ({A}, {B})
    assert dump(tmp_path / "root" / A[1:]) == kernel
    assert dump(tmp_path / "root" / B[1:]) == initrd


def test_names_that_lead_elsewhere_write_nothing_there(tmp_path: Path) -> None:
    """A symlink, and then a directory of its name, into which a file would go."""
    file = nar.regular(0, executable=False) + nar.regular_end(0)
    link = nar.entry(b"d") + nar.symlink(bytes(tmp_path)) + nar.END
    into = nar.entry(b"d") + nar.DIRECTORY + nar.entry(b"x") + file + nar.END + nar.END + nar.END
    upwards = nar.entry(b"../x") + file + nar.END
    for entries in (link + into, upwards):
        with pytest.raises(StreamError):
            take(Restorer(tmp_path), nar.HEADER + nar.DIRECTORY + entries + nar.END)
    assert os.listdir(tmp_path) == ["nix"]
    assert os.listdir(tmp_path / "nix") == ["store"]
    assert os.listdir(tmp_path / "nix/store") == [".unfinished"]


def test_a_name_longer_than_the_system_has_is_told(tmp_path: Path) -> None:
    head = (nar.DIRECTORY + nar.entry(b"d" * 255)) * 20
    tail = (nar.END + nar.END) * 20
    content = nar.HEADER + head + nar.DIRECTORY + nar.END + tail
    with pytest.raises(HostError, match=r"^unpacking the export: .*: File name too long$"):
        take(Restorer(tmp_path), content)


def test_a_place_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(HostError, match=r"^unpacking the export: .*: Permission denied$"):
        Restorer(tmp_path)


def test_a_full_disk_is_told_and_what_is_whole_stays(as_root: AsRoot, tmp_path: Path) -> None:
    system = make_system(tmp_path / "from")
    root = tmp_path / "root"
    root.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", f"size=140k,uid={os.geteuid()}", "tmpfs", root)
    try:
        restorer = Restorer(root)
        first = take_file(restorer, save(tmp_path, dump(system.host(system.paths[0]))), A)
        assert first[1] > 100_000
        with pytest.raises(HostError, match=r"unpacking the export: .*No space left on device"):
            take_file(restorer, save(tmp_path, dump(system.host(system.paths[1]))), B)
        assert restorer.paths == {A}
        line = f"{A}\n{first[0]}\n{first[1]}\n\n0\n"
        as_root("mount", "-o", "remount,size=20m", root)
        load = ["nix-store", "--store", f"local?root={root}", "--load-db"]
        subprocess.run(load, input=line.encode(), check=True, capture_output=True)
        assert verify(root) == ""
    finally:
        as_root("umount", root)


def save(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "nar").write_bytes(content)
    return tmp_path / "nar"
