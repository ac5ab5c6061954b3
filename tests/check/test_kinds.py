"""check-image names the format of a file that is not a raw image."""

import bz2
import gzip
import lzma
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from assembler.check.image import check_image
from assembler.check.kinds import not_raw, without_table
from assembler.errors import RequestError
from tests.support.helpers import output

DATA = bytes(range(256)) * 64


def refusal(path: Path) -> str:
    with pytest.raises(RequestError) as caught:
        check_image(path)
    return str(caught.value).removeprefix(f"{path} ")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("qcow2", "qcow2"), ("vmdk", "VMDK"), ("vpc", "VHD"), ("vdi", "VDI"), ("vhdx", "VHDX")],
)
def test_images_of_other_formats(tmp_path: Path, kind: str, name: str) -> None:
    image = tmp_path / "image"
    output("qemu-img", "create", "-q", "-f", kind, image, "4M")
    words = f"is not a raw disk image: it is a {name} image; convert it with qemu-img"
    assert refusal(image).startswith(words)


def test_a_fixed_vhd_is_told_by_its_end(tmp_path: Path) -> None:
    image = tmp_path / "image"
    options = ["-f", "vpc", "-o", "subformat=fixed,force_size"]
    output("qemu-img", "create", "-q", *options, image, "4M")
    assert "it is a VHD image" in refusal(image)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(DATA), "it is compressed with gzip; unpack it first"),
        (lzma.compress(DATA), "it is compressed with xz; unpack it first"),
        (bz2.compress(DATA), "it is compressed with bzip2; unpack it first"),
        (lzma.compress(DATA, lzma.FORMAT_ALONE), "it is compressed with lzma; unpack it first"),
        (b"\x28\xb5\x2f\xfd" + DATA, "it is compressed with zstd; unpack it first"),
        (b"", "it is empty"),
        (bytes(100_000), "it is nothing but zeros"),
        ("some text, ünï\n".encode() * 10_000, "it is a text file"),
        (bytes(32769) + b"CD001\1" + DATA, "it is an ISO 9660 image"),
        (bytes(257) + b"ustar\0" + DATA, "it is a tar archive"),
        (b"\x7fELF" + DATA, "it is a program (ELF)"),
    ],
)
def test_other_files(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    assert words in refusal(file)


def test_a_hole_is_nothing_but_zeros_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.truncate(file, 1 << 40)
    assert without_table(file) == "nothing but zeros"


def test_a_program_is_no_reason_against_an_mbr(tmp_path: Path) -> None:
    """Boot code may begin with any bytes."""
    file = tmp_path / "file"
    file.write_bytes(b"MZ" + bytes(508) + b"\x55\xaa" + bytes(512))
    assert not_raw(file) == ""


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "it is a directory"),
        (os.mkfifo, "it is a FIFO"),
        (lambda path: path.symlink_to("/dev/null"), "it is a character device"),
        (bind, "it is a socket"),
    ],
)
def test_what_is_no_file_is_never_opened(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "x"
    make(path)
    assert words in refusal(path)


def test_what_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x") == "does not exist"


def test_a_partition_table_on_anything_is_looked_at(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 8 << 20)
    subprocess.run(["/sbin/sfdisk", "-q", image], input=b"2048,4096,83\n", check=True)
    assert check_image(image).faults
