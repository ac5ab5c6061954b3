"""NARs taken apart, against `nix-store --dump` and `nix-store --restore`.

Without these tests, a damaged export can be accepted, or its files differ from those that Nix would
unpack.
"""

import hashlib
import io
import os
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.store import nar
from assembler.store.stream import Stream, StreamError
from assembler.tree.nar_tree import Indexer, nar_size
from assembler.tree.scan import Scanner
from assembler.tree.tree import Directory, Node, Slice, Tree
from tests.support.helpers import directory, output
from tests.support.systems import store_path

A = store_path(1, "a")
Shape = dict[bytes, object] | tuple[bytes, bool] | bytes  # directory, (content, executable), link

NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: not {b"/"[0], 0} & set(name) and name not in (b".", b"..")
)
CONTENTS = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([n + d for n in (1 << 17, 1 << 18) for d in (-1, 0, 1, 7)]).map(os.urandom),
)
LEAVES = st.one_of(
    st.tuples(CONTENTS, st.booleans()), st.sampled_from([b"x", b"/nix/store/x", b"t" * 4095])
)
SHAPES = st.recursive(
    LEAVES, lambda below: st.dictionaries(NAMES, below, max_size=4), max_leaves=12
)


def make(path: bytes, shape: Shape) -> None:
    """Put a shape on the disk."""
    if isinstance(shape, dict):
        os.mkdir(path)
        for name, below in shape.items():
            make(path + b"/" + name, below)  # type: ignore[arg-type]
    elif isinstance(shape, bytes):
        os.symlink(shape, path)
    else:
        content, executable = shape
        Path(os.fsdecode(path)).write_bytes(content)
        os.chmod(path, 0o755 if executable else 0o644)


def dump(path: Path) -> bytes:
    return output("nix-store", "--dump", path)


def indexed(handle: int, path: Path) -> Directory | Node:
    """The tree of the one NAR that a file descriptor gives."""
    trees: dict[str, Directory | Node] = {}
    stream, indexer = Stream(handle), Indexer(str(path), trees, {})
    indexer.begin(stream)
    nar.read_nar(stream, indexer)
    indexer.end(stream)
    assert stream.at_end()
    indexer.finish(A)
    return trees[A]


def read_file(path: Path) -> Directory | Node:
    with path.open("rb") as file:
        return indexed(file.fileno(), path)


def facts(node: Directory | Node, data: Callable[[Node], bytes]) -> object:
    """What a NAR has of a node."""
    if isinstance(node, Directory):
        return {name: facts(child, data) for name, child in node.children.items()}
    return node.kind, node.mode, node.size, data(node)


def sliced(node: Node) -> bytes:
    """The bytes of a file of a NAR, or a link's target."""
    if not isinstance(node.data, Slice):
        assert isinstance(node.data, bytes)
        return node.data
    with open(node.data.path, "rb") as file:
        file.seek(node.data.start)
        return file.read(node.size)


@settings(max_examples=60)
@given(SHAPES)
def test_a_nar_gives_the_tree_that_it_was_made_of(shape: Shape) -> None:
    with directory() as scratch:
        top, file = scratch / "top", scratch / "nar"
        make(os.fsencode(top), shape)
        file.write_bytes(dump(top))
        found = read_file(file)
        tree = Tree()
        Scanner(tree).add(str(top), A.encode())
        expected = tree.get(A.encode())
        assert expected is not None
        assert nar_size(found) == nar_size(expected) == file.stat().st_size

        def on_disk(node: Node) -> bytes:
            return node.data if isinstance(node.data, bytes) else b""

        def without_data(node: Node) -> bytes:
            return node.data if isinstance(node.data, bytes) else b""

        assert facts(found, without_data) == facts(expected, on_disk)
        # Written again with our framing, it is the same NAR.
        assert framed(found) == file.read_bytes()


def framed(top: Directory | Node) -> bytes:
    """A NAR of a tree whose data lies in another NAR."""
    out = io.BytesIO()
    out.write(nar.HEADER)

    def put(node: Directory | Node) -> None:
        if isinstance(node, Directory):
            out.write(nar.DIRECTORY)
            for name in sorted(node.children):
                out.write(nar.entry(name))
                put(node.children[name])
                out.write(nar.END)
            out.write(nar.END)
        elif node.kind == stat.S_IFLNK:
            out.write(nar.symlink(sliced(node)))
        else:
            out.write(nar.regular(node.size, executable=node.mode == 0o555))
            out.write(sliced(node))
            out.write(nar.regular_end(node.size))

    put(top)
    return out.getvalue()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A NAR with one of each."""
    top = tmp_path_factory.mktemp("small") / "top"
    shape: Shape = {b"a": {b"b": (b"text", False)}, b"c": (b"", True), b"l": b"target"}
    make(os.fsencode(top), shape)
    return dump(top)


def read_bytes(content: bytes, tmp_path: Path) -> Directory | Node:
    (tmp_path / "nar").write_bytes(content)
    return read_file(tmp_path / "nar")


def test_a_nar_that_is_cut_anywhere_is_refused(small: bytes, tmp_path: Path) -> None:
    for end in range(len(small)):
        with pytest.raises(StreamError) as caught:
            read_bytes(small[:end], tmp_path)
        assert 0 <= caught.value.position <= end


def test_any_byte_that_is_wrong_is_noticed_or_means_something_else(
    small: bytes, tmp_path: Path
) -> None:
    """What Nix's own reader takes, ours takes, and the other way round."""
    whole = facts(read_bytes(small, tmp_path), sliced)
    differ = []
    for place in range(len(small)):
        broken = small[:place] + bytes([small[place] ^ 0x21]) + small[place + 1 :]
        try:
            found = facts(read_bytes(broken, tmp_path), sliced)
        except StreamError:
            continue
        assert found != whole
        target = Path(tempfile.mkdtemp(dir=tmp_path)) / "restored"
        restore = ["nix-store", "--restore", target]
        done = subprocess.run(restore, input=broken, capture_output=True)
        if done.returncode != 0 or dump(target) != broken:
            differ.append(place)
    assert differ == []


@pytest.mark.parametrize("length", [1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_lengths_beyond_all_measure_are_refused_at_once(
    small: bytes, tmp_path: Path, length: int
) -> None:
    number = length.to_bytes(8, "little")
    for place in range(0, len(small), 8):
        with pytest.raises(StreamError):
            read_bytes(small[:place] + number + small[place + 8 :], tmp_path)


def entries(*names: bytes) -> bytes:
    """A NAR of a directory with empty files."""
    file = nar.regular(0, executable=False) + nar.regular_end(0)
    body = b"".join(nar.entry(name) + file + nar.END for name in names)
    return nar.HEADER + nar.DIRECTORY + body + nar.END


def test_names_in_order_are_taken(tmp_path: Path) -> None:
    found = read_bytes(entries(b"-", b"A", b"a", b"a.b", b"a/"[:1] + b"b", b"\xff"), tmp_path)
    assert isinstance(found, Directory)
    assert list(found.children) == [b"-", b"A", b"a", b"a.b", b"ab", b"\xff"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((b"",), "is no file name: b''"),
        ((b".",), "is no file name: b'.'"),
        ((b"..",), "is no file name: b'..'"),
        ((b"a/b",), "is no file name: b'a/b'"),
        ((b"a\0b",), "is no file name"),
        ((b"n" * 256,), "should be a file name, but is 256 bytes long"),
        ((b"b", b"a"), "is out of order: b'a' after b'b'"),
        ((b"a", b"a"), "is out of order: b'a' after b'a'"),
    ],
)
def test_names_that_cannot_be_are_refused(
    tmp_path: Path, names: tuple[bytes, ...], words: str
) -> None:
    with pytest.raises(StreamError, match=words):
        read_bytes(entries(*names), tmp_path)


@pytest.mark.parametrize("target", [b"", b"a\0b", b"t" * 4096])
def test_targets_that_cannot_be_are_refused(tmp_path: Path, target: bytes) -> None:
    with pytest.raises(StreamError):
        read_bytes(nar.HEADER + nar.symlink(target), tmp_path)


def test_depth_is_no_matter(tmp_path: Path) -> None:
    depth = 5000
    head = (nar.DIRECTORY + nar.entry(b"d")) * depth
    tail = (nar.END + nar.END) * depth
    content = nar.HEADER + head + nar.DIRECTORY + nar.END + tail
    node = read_bytes(content, tmp_path)
    assert nar_size(node) == len(content)


def test_a_pipe_that_drips_gives_the_same(small: bytes) -> None:
    reading, writing = os.pipe()
    digest = hashlib.sha256()
    script = "import os, sys\nfor byte in sys.stdin.buffer.read(): os.write(1, bytes([byte]))"
    with subprocess.Popen(["python3", "-c", script], stdin=subprocess.PIPE, stdout=writing) as drip:
        os.close(writing)
        assert drip.stdin is not None
        drip.stdin.write(small)
        drip.stdin.close()
        trees: dict[str, Directory | Node] = {}
        stream, indexer = Stream(reading), Indexer("x", trees, {})
        assert not stream.seekable
        stream.hash_into(digest)
        nar.read_nar(stream, indexer)
        stream.hash_into(None)
        indexer.finish(A)
    os.close(reading)
    assert digest.hexdigest() == hashlib.sha256(small).hexdigest()
    assert nar_size(trees[A]) == len(small)
