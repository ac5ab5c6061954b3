"""GNU tar reads the archives.

Without these tests, a name, a hole or an xattr can get lost where an appliance writes the image.
"""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.errors import HostError
from assembler.filesystems.guestfs.archive import RECORD, Archive
from assembler.host.progress import Step
from assembler.tree.tree import Directory, regular, symlink
from tests.support.helpers import directory, output
from tests.support.readback import digest
from tests.support.trees import CAPABILITY, SPARSE, host_file, sparse_file

NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..")
)


def listed(archive: Path, *options: str) -> list[str]:
    argv = ["tar", "--numeric-owner", "--full-time", "-tvvv", *options, "-f", archive]
    listing = output("env", "TZ=UTC", *argv).decode()
    return [" ".join(line.split()) for line in listing.splitlines()]


def unpack(archive: Path, top: Path) -> None:
    """Unpack as the appliance does, without the parts that need root."""
    top.mkdir(exist_ok=True)
    quiet = ["--warning=no-timestamp", "--warning=no-unknown-keyword"]
    done = subprocess.run(["tar", "-xpP", *quiet, "-C", top, "-f", archive], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_tar_lists(tmp_path: Path) -> None:
    with Archive(tmp_path / "a", Step(None)) as archive:
        archive.directory(b".", Directory(0o755))
        archive.directory(b"d", Directory(0o1775, uid=7, gid=30000, mtime=0x1_0000_0000))
        large = regular(b"hello", 0o4755, mtime=0x3_7FFF_FFFF)._replace(uid=0xFFFFFFFE, gid=65536)
        archive.regular(b"d/file", large, b"")
        archive.symlink(b"d/link", symlink(b"../x"))
        archive.link(b"d/more", b"d/file", large)
    assert (tmp_path / "a").stat().st_size == RECORD
    assert listed(tmp_path / "a") == [
        "drwxr-xr-x 0/0 0 1970-01-01 00:00:01 ./",
        "drwxrwxr-t 7/30000 0 2106-02-07 06:28:16 d/",
        "-rwsr-xr-x 4294967294/65536 5 2446-05-10 22:38:55 d/file",
        "lrwxrwxrwx 0/0 0 1970-01-01 00:00:01 d/link -> ../x",
        "hrwsr-xr-x 4294967294/65536 0 2446-05-10 22:38:55 d/more link to d/file",
    ]


def test_xattrs(tmp_path: Path) -> None:
    xattrs = (("security.capability", CAPABILITY), ("user.a=b%c", b"\xff\n=\0"))
    with Archive(tmp_path / "a", Step(None)) as archive:
        archive.regular(b"ping", regular(b"x", 0o755)._replace(xattrs=xattrs), b"")
        archive.directory(b"d", Directory(xattrs=(("user.note", b"z"),)))
    options = ["--xattrs", "--xattrs-include=*", "--warning=no-unknown-keyword"]
    assert listed(tmp_path / "a", *options) == [
        "-rwxr-xr-x* 0/0 1 1970-01-01 00:00:01 ping",
        f"x: {len(CAPABILITY)} security.capability",
        "x: 4 user.a=b%c",
        "drwxr-xr-x* 0/0 0 1970-01-01 00:00:01 d/",
        "x: 1 user.note",
    ]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1_000_000])
def test_contents_from_memory_and_from_the_host(size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    (tmp_path / "source").write_bytes(content)
    node = host_file(tmp_path / "source")
    with Archive(tmp_path / "a", Step(None)) as archive:
        archive.regular(b"1", regular(content), b"")
        archive.regular(b"2", node, os.fsencode(tmp_path / "source"))
    unpack(tmp_path / "a", tmp_path / "top")
    assert [(tmp_path / "top" / name).read_bytes() for name in "12"] == [content] * 2


@pytest.mark.parametrize("name", SPARSE)
def test_holes_stay_holes(name: bytes, tmp_path: Path) -> None:
    source = tmp_path / "source"
    node = sparse_file(source, SPARSE[name])
    with Archive(tmp_path / "a", Step(None)) as archive:
        archive.regular(b"before", regular(b"1"), b"")
        archive.regular(b"d/\xff" + name, node, bytes(source))
        archive.regular(b"after", regular(b"2"), b"")
    unpack(tmp_path / "a", tmp_path / "top")
    top = os.fsencode(tmp_path / "top")
    file = top + b"/d/\xff" + name
    assert os.stat(file).st_size == source.stat().st_size
    assert digest(file) == digest(bytes(source))
    assert (tmp_path / "top/before").read_bytes() + (tmp_path / "top/after").read_bytes() == b"12"


@given(NAMES, NAMES, st.binary(min_size=1, max_size=4095).filter(lambda target: 0 not in target))
def test_any_name_and_target(above: bytes, name: bytes, target: bytes) -> None:
    with directory() as scratch:
        full = above + b"/" + name
        with Archive(scratch / "a", Step(None)) as archive:
            archive.directory(above, Directory())
            archive.regular(full, regular(b"x"), b"")
            archive.symlink(above + b"/" + name[:-1] + b"\x01", symlink(target))
            archive.link(above + b"/" + name[:-1] + b"\x02", full, regular(b"x"))
        unpack(scratch / "a", scratch / "top")
        holder = bytes(scratch / "top") + b"/" + above
        names = {name, name[:-1] + b"\x01", name[:-1] + b"\x02"}
        assert set(os.listdir(holder)) == names
        if len(names) == 3:
            assert os.readlink(holder + b"/" + name[:-1] + b"\x01") == target
            assert os.stat(holder + b"/" + name).st_nlink == 2


def test_a_file_that_is_shorter_than_was_seen(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"abc")
    node = host_file(tmp_path / "source")._replace(size=5)
    with (
        pytest.raises(HostError, match="source: it became shorter while it was read"),
        Archive(tmp_path / "a", Step(None)) as archive,
    ):
        archive.regular(b"x", node, bytes(tmp_path / "source"))
