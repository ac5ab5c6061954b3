"""A stream gives the same bytes from a file and from a pipe, in pieces of any size.

Without these tests, an export out of a pipe can give another image than its file, or fill the
memory.
"""

import hashlib
import io
import os
import struct
import subprocess
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.store.stream import Stream, StreamError
from tests.support.helpers import directory, output

PIECE = 1 << 18


@contextmanager
def by_file(content: bytes, ahead: int = 0) -> Iterator[Stream]:
    """A stream from a file that begins with bytes which are behind us."""
    with directory() as scratch:
        (scratch / "file").write_bytes(bytes(ahead) + content)
        with (scratch / "file").open("rb") as file:
            os.lseek(file.fileno(), ahead, os.SEEK_SET)
            yield Stream(file.fileno())


@contextmanager
def by_pipe(content: bytes, at_once: int = 1 << 20) -> Iterator[Stream]:
    """A stream from a pipe into which so many bytes are written at once."""
    reading, writing = os.pipe()

    def write() -> None:
        try:
            for start in range(0, len(content), at_once):
                left = content[start : start + at_once]
                while left:
                    left = left[os.write(writing, left) :]
        except BrokenPipeError:  # the reader did not read all
            pass
        finally:
            os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield Stream(reading)
    finally:
        os.close(reading)
        writer.join()


Way = Callable[[bytes], AbstractContextManager[Stream]]
WAYS: dict[str, Way] = {
    "file": by_file,
    "pipe": by_pipe,
    "drip": lambda content: by_pipe(content, 1),
    "sevens": lambda content: by_pipe(content, 7),
}
FEW = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["peek", "looking", "pieces", "skip", "number", "hash", "stop"]),
        st.sampled_from(
            [0, 1, 7, 8, 9, 1000, (1 << 15) - 1, 1 << 15, 1 << 17, PIECE - 1, PIECE, PIECE + 1]
        ),
    ),
    max_size=25,
)


def follow(stream: Stream, reference: io.BytesIO, steps: list[tuple[str, int]]) -> None:
    """Take the same steps with a stream and with Python's own file in memory."""
    digest, expected = hashlib.sha256(), hashlib.sha256()
    is_hashing = False
    for step, length in steps:
        place = reference.tell()
        here = reference.read(length)
        match step:
            case "peek" | "looking":
                reference.seek(place)
                if step == "peek":
                    assert stream.peek(length) == here
                assert stream.looking_at(here)
                assert not stream.looking_at(here + b"\0\1\0" * 3)
                here = b""
            case "number" if len(reference.getvalue()) - place >= 8:
                reference.seek(place)
                here = reference.read(8)
                assert stream.number() == struct.unpack("<Q", here)[0]
            case "pieces" | "skip" if len(here) == length:
                if step == "skip":
                    stream.skip(length)
                else:
                    assert b"".join(map(bytes, stream.pieces(length))) == here
            case _:
                reference.seek(place)
                here = b""
                is_hashing = step == "hash" or (step != "stop" and is_hashing)
                stream.hash_into(digest if is_hashing else None)
        if is_hashing:
            expected.update(here)
        assert stream.position == reference.tell()
    stream.hash_into(None)
    assert digest.hexdigest() == expected.hexdigest()
    assert stream.at_end() == (reference.tell() == len(reference.getvalue()))
    assert stream.rest() == reference.read()


CONTENTS = st.sampled_from([0, 1, 8, 5000, PIECE - 1, PIECE, 3 * PIECE + 5]).map(os.urandom)


@given(CONTENTS, STEPS, st.sampled_from(["file", "pipe"]))
@settings(max_examples=150)
def test_what_is_taken_is_what_is_there(
    content: bytes, steps: list[tuple[str, int]], way: str
) -> None:
    with WAYS[way](content) as stream:
        assert stream.seekable == (way == "file")
        follow(stream, io.BytesIO(content), steps)


@FEW
def test_the_pieces_that_bytes_come_in_are_no_matter(way: Way) -> None:
    content = os.urandom(3000)
    steps = [("hash", 0), ("number", 0), ("pieces", 1000), ("peek", 1000), ("skip", 1000)]
    with way(content) as stream:
        follow(stream, io.BytesIO(content), steps)


@pytest.mark.parametrize("ahead", [1, 5000])
def test_places_are_those_of_the_file(ahead: int) -> None:
    with by_file(b"12345678", ahead) as stream:
        assert stream.position == ahead
        stream.number()
        with pytest.raises(StreamError, match=f"^byte {ahead + 8} is the end, where a number"):
            stream.number()


@FEW
@pytest.mark.parametrize("length", [1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_length_beyond_the_end_takes_no_memory(way: Way, length: int) -> None:
    content = struct.pack("<Q", length) + bytes(100)
    tracemalloc.start()
    try:
        for take in ("string", "skip", "pieces"):
            with way(content) as stream:
                with pytest.raises(StreamError) as caught:
                    if take == "string":
                        stream.string("a name", 255)
                    elif take == "skip":
                        stream.skip(stream.number())
                    else:
                        list(stream.pieces(stream.number()))
                assert caught.value.position == (0 if take == "string" else 108)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def text(content: bytes, padding: bytes | None = None) -> bytes:
    """A string as Nix serialises it."""
    padding = bytes(-len(content) % 8) if padding is None else padding
    return struct.pack("<Q", len(content)) + content + padding


@FEW
def test_strings_are_taken_with_their_padding(way: Way) -> None:
    words = [b"", b"1", b"1234567", b"12345678", b"123456789", os.urandom(255)]
    with way(b"".join(map(text, words))) as stream:
        assert [stream.string("a word", 255) for _ in words] == words
        assert stream.at_end()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "byte 0 is the end, where a number should be"),
        (bytes(7), "byte 7 is the end, where a number should be"),
        (text(b"123456"), "byte 0 should be a word, but is 6 bytes long"),
        (text(b"12345")[:-1], "byte 15 is the end, where a word should be"),
        (text(b"12345")[:10], "byte 10 is the end, where a word should be"),
        (text(b"12345", b"\0\0\1"), "byte 8 should be followed by zeros only"),
    ],
)
def test_strings_that_are_wrong_are_told(content: bytes, words: str) -> None:
    for way in WAYS.values():
        with way(content) as stream, pytest.raises(StreamError) as caught:
            stream.string("a word", 5)
        assert str(caught.value) == words


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"abc", "byte 3 is the end, where the mark should be"),
        (b"abcX", "byte 0 should be the mark"),
        (b"", "byte 0 is the end, where the mark should be"),
    ],
)
def test_what_is_expected_and_not_there_is_told(content: bytes, words: str) -> None:
    with by_file(content) as stream:
        with pytest.raises(StreamError) as caught:
            stream.expect(b"abcd", "the mark")
        assert str(caught.value) == words
        assert stream.position == 0


def test_memory_is_bounded_however_long_a_pipe_is() -> None:
    """256 MiB of zeros from dd, hashed on the way, against sha256sum."""
    count = 1 << 28
    with subprocess.Popen(
        ["dd", "if=/dev/zero", "bs=1M", "count=256", "status=none"], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        stream, digest = Stream(writer.stdout.fileno()), hashlib.sha256()
        tracemalloc.start()
        try:
            stream.hash_into(digest)
            stream.skip(count)
            stream.hash_into(None)
            assert stream.at_end()
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
    zeros = output("sh", "-c", "dd if=/dev/zero bs=1M count=256 status=none | sha256sum")
    assert digest.hexdigest() == zeros.decode().split()[0]


def test_a_file_that_becomes_shorter_ends(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(1 << 20))
    with file.open("rb") as opened:
        stream = Stream(opened.fileno())
        stream.number()
        os.truncate(file, 1000)
        stream.skip(1 << 19)  # past what there is by now
        with pytest.raises(StreamError, match="is the end, where a number should be"):
            stream.number()


def test_only_a_regular_file_is_read_again() -> None:
    """A device has a position, too, but no end."""
    handle = os.open("/dev/zero", os.O_RDONLY)
    try:
        stream = Stream(handle)
        assert not stream.seekable
        stream.skip(1 << 20)
        assert stream.number() == 0
    finally:
        os.close(handle)
