"""The tar in Google's archive is that of GNU tar, byte for byte.

Without these tests, Google could refuse it, or the archive could depend on the file system's holes.
"""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assembler.formats.sparse_tar import SparseTar
from assembler.units import GIB, MIB
from tests.support.helpers import output

BLOCK = 512
OPTIONS = [
    *("--format=oldgnu", "--sparse", "--hole-detection=raw", "--owner=0", "--group=0"),
    *("--numeric-owner", "--mode=0644"),
]


def write(image: Path, size: int, pieces: list[tuple[int, bytes]]) -> None:
    with image.open("wb") as file:
        file.truncate(size)
        for place, data in pieces:
            file.seek(place)
            file.write(data)


def archive(image: Path, epoch: int) -> bytes:
    reading, writing = os.pipe()

    def send() -> None:
        try:
            SparseTar(image, image.name, epoch).send(writing)
        finally:
            os.close(writing)

    with ThreadPoolExecutor(1) as pool, open(reading, "rb") as stream:
        job = pool.submit(send)
        sent = stream.read()
        job.result()
    return sent


def gnu_tar(image: Path, epoch: int) -> bytes:
    return output("tar", "-C", image.parent, "-cf-", *OPTIONS, f"--mtime=@{epoch}", image.name)


@pytest.mark.parametrize("runs", [0, 1, 3, 4, 5, 24, 25, 26, 46, 47])
@pytest.mark.parametrize("to_the_end", [False, True])
def test_any_number_of_runs(tmp_path: Path, runs: int, *, to_the_end: bool) -> None:
    """Four are in the header, and 21 in each block behind it; the end of a hole is one, too."""
    image, size = tmp_path / "disk.raw", (runs + 1) * MIB
    pieces = [(number * MIB, b"x" * BLOCK * (number + 1)) for number in range(runs)]
    write(image, size, pieces + [(size - 1, b"x")] * to_the_end)
    assert archive(image, 1) == gnu_tar(image, 1)


@pytest.mark.parametrize("seed", range(8))
def test_blocks_of_zeros_among_data(tmp_path: Path, seed: int) -> None:
    """Also those that are no hole, and zeros that fill no block."""
    image, drawn = tmp_path / "disk.raw", random.Random(seed)
    size, pieces = 4 * MIB, list[tuple[int, bytes]]()
    for _ in range(40):
        zeros = bytes(drawn.randrange(3 * BLOCK))
        data = drawn.randbytes(drawn.randrange(1, 2000)) + zeros + b"x" + zeros
        pieces.append((drawn.randrange(3 * MIB), data))
    write(image, size, pieces)
    assert archive(image, 1) == gnu_tar(image, 1)


def test_large_numbers(tmp_path: Path) -> None:
    """From 8 GiB on they are binary, and so is a time after the year 2242."""
    image = tmp_path / "disk.raw"
    write(image, 9 * GIB, [(9 * GIB - BLOCK, b"x")])
    ours = archive(image, 1 << 40)
    with image.open("r+b") as file:  # GNU tar would read nine GiB: compare what a small disk has
        file.truncate(0)
        file.truncate(MIB)
    assert output("tar", "-tvf-", "--utc", "--full-time", stdin=ours).split()[:4] == [
        b"-rw-r--r--",
        b"0/0",
        b"9663676416",
        b"36812-02-20",
    ]
    assert archive(image, 1 << 40) == gnu_tar(image, 1 << 40)


def test_the_holes_of_a_file_system_do_not_matter(tmp_path: Path) -> None:
    """GNU tar packs a file that has none as an ordinary one."""
    holes, full = tmp_path / "holes" / "disk.raw", tmp_path / "full" / "disk.raw"
    for image in (holes, full):
        image.parent.mkdir()
    write(holes, 4 * MIB, [(MIB, b"x" * 5000)])
    full.write_bytes(holes.read_bytes())
    assert archive(full, 1) == archive(holes, 1) == gnu_tar(holes, 1)
