"""check-image names the format of a file that is not a raw image.

Without these tests, users read that their disk is damaged where the file is only of another format.
"""

import bz2
import gzip
import lzma
import os
import re
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


def test_an_image_of_another_format(tmp_path: Path) -> None:
    """One that is not unpacked here."""
    image = tmp_path / "image"
    output("qemu-img", "create", "-q", "-f", "qed", image, "4M")
    words = "is not a raw disk image: it is a QED image; convert it with qemu-img"
    assert refusal(image).startswith(words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ": it is empty"),
        (b"some text", ": it is a text file"),
        (bytes(1 << 20), ": it is nothing but zeros"),
        (DATA, ", and has no partition table that sfdisk can read"),
    ],
)
def test_a_file_with_the_name_of_a_format(tmp_path: Path, data: bytes, words: str) -> None:
    image = tmp_path / "image.vmdk"
    image.write_bytes(data)
    assert refusal(image) == f"is not an image in the format vmdk{words}"


def test_more_formats_in_one_another_than_are_unpacked(tmp_path: Path) -> None:
    image = tmp_path / "image"
    data = DATA
    for _ in range(4):
        data = gzip.compress(data, mtime=0)
    image.write_bytes(data)
    [fault] = check_image(image).faults
    assert fault == (
        "raw.gz: it holds another format (raw.gz), and at most 3 in one another are unpacked"
    )


@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vpc", "vdi", "vhdx"])
def test_a_format_with_nothing_in_it(tmp_path: Path, kind: str) -> None:
    """It is unpacked, and what is in it gets the message."""
    image = tmp_path / "image"
    output("qemu-img", "create", "-q", "-f", kind, image, "4M")
    words = "holds no raw disk image: what it holds is nothing but zeros"
    assert refusal(image) == words


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(b"some text\n", mtime=0), "what it holds is a text file"),
        (
            lzma.compress(gzip.compress(b"\x7fELF" + DATA, mtime=0)),
            "what it holds is a program (ELF)",
        ),
        (bz2.compress(DATA), "it is compressed with bzip2; unpack it first"),
        (lzma.compress(DATA, lzma.FORMAT_ALONE), "it is compressed with lzma; unpack it first"),
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


@pytest.mark.parametrize(
    ("option", "words"),
    [("-b", "backing-filename"), ("data_file", "data-file")],
)
def test_an_image_that_names_another_file(tmp_path: Path, option: str, words: str) -> None:
    """The file of a stranger must not show one of ours."""
    image, secret = tmp_path / "image", tmp_path / "secret"
    secret.write_bytes(bytes(4 << 20))
    more = ["-b", secret, "-F", "raw"] if option == "-b" else ["-o", f"data_file={secret}"]
    output("qemu-img", "create", "-q", "-f", "qcow2", *more, image, "4M")
    report = check_image(image)
    [fault] = report.faults
    assert words in fault
    assert report.size == 0


def test_a_damaged_format(tmp_path: Path) -> None:
    image = tmp_path / "image.zst"
    image.write_bytes(b"\x28\xb5\x2f\xfd" + DATA)
    [fault] = check_image(image).faults
    assert re.match(r"raw\.zst: (Decoding|Data|Read) error", fault)
