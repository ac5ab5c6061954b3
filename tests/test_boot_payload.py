"""Kernels and initial RAM disks, made by the programs that make real ones."""

import re
import struct
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.boot.payload import (
    PayloadError,
    check_devicetree,
    check_initrd,
    check_initrd_start,
    check_kernel,
)
from tests.helpers import output
from tests.systems import made_up_kernel

COMPRESSORS = {
    "gzip": ["gzip", "-9"],
    "zstd": ["zstd", "-q", "--check"],
    "zstd-levels": ["zstd", "-q", "-19", "--no-check"],
    "zstd-stream": ["zstd", "-q", "-1", "--no-content-size"],
    "xz": ["xz", "--check=crc32"],
    "bzip2": ["bzip2"],
    "lz4": ["lz4", "-l", "-q"],
    "lzma": ["xz", "--format=lzma"],
    "cpio": ["cat"],
}
FOLLOWED = ["gzip", "zstd", "zstd-levels", "zstd-stream", "xz", "cpio"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An archive with files of several sizes, as dracut and NixOS make them."""
    directory = tmp_path_factory.mktemp("archive")
    for size in (0, 1, 5, 4096, 300_001):
        (directory / f"file-{size}").write_bytes(bytes(range(256)) * (size // 256) + b"x" * size)
    (directory / "init").symlink_to("file-1")
    names = "".join(f"{path.name}\n" for path in sorted(directory.iterdir()))
    command = ["cpio", "--quiet", "-o", "-H", "newc", "-D", directory]
    return subprocess.run(command, input=names.encode(), capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def initrds(archive: bytes) -> dict[str, bytes]:
    return {name: output(*command, stdin=archive) for name, command in COMPRESSORS.items()}


def initrd(data: bytes) -> str:
    try:
        check_initrd(BytesIO(data))
    except PayloadError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", COMPRESSORS)
def test_an_archive_of_each_kind(initrds: dict[str, bytes], name: str) -> None:
    assert initrd(initrds[name]) == ""


@pytest.mark.parametrize("name", COMPRESSORS)
def test_microcode_before_it_and_padding(
    initrds: dict[str, bytes], archive: bytes, name: str
) -> None:
    assert initrd(archive + bytes(512) + initrds[name]) == ""
    assert initrd(archive + initrds[name] + bytes(4)) == ""


@pytest.mark.parametrize("name", FOLLOWED)
@pytest.mark.parametrize("cut", [1, 5, 100, 200])
def test_one_cut_short(initrds: dict[str, bytes], name: str, cut: int) -> None:
    data = initrds[name]
    if name == "cpio":  # cpio fills its last block up
        data = data.rstrip(b"\0")
    assert initrd(data[:-cut]) == (
        f"it is cut short: {len(data) - cut} bytes, and an archive goes on"
    )


def start(data: bytes) -> str:
    """What the first 4096 bytes tell."""
    try:
        check_initrd_start(data[:4096], len(data))
    except PayloadError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("padding", [0, 512, 4092, 4096])
def test_the_beginning_of_each_kind(initrds: dict[str, bytes], name: str, padding: int) -> None:
    assert start(bytes(padding) + initrds[name]) == ""


def test_the_beginning_of_what_is_none() -> None:
    assert start(b"") == "it is empty"
    assert start(bytes(4096)) == "it holds nothing but zeros"
    assert start(bytes(100_000)) == ""  # zeros may end behind what was read
    for data in (b"x", b"#!/bin/sh", b"\x7fELF" * 5000, b"070700"):
        assert start(data).startswith("it is not an initial RAM disk (it begins with ")
    assert start(bytes(4000) + b"junk" * 30) == (
        "what is at its byte 4000 is no archive (it begins with 6a 75 6e 6b)"
    )


def test_device_trees() -> None:
    """Devicetree Specification, 5.2: a magic number, and the size of the whole."""
    tree = struct.pack(">II", 0xD00DFEED, 40).ljust(40, b"\0")
    check_devicetree(tree, 40)
    check_devicetree(tree, 50)
    for data, words in [
        (tree[:39], "it is cut short: 39 bytes of 40"),
        (tree[:4], "it is cut short: 4 bytes of 40"),
        (b"", "it is empty"),
        (b"/dts-v1/;", "it is not a device tree"),
    ]:
        with pytest.raises(PayloadError) as caught:
            check_devicetree(data, len(data))
        assert str(caught.value) == words


def test_what_is_none(archive: bytes) -> None:
    assert initrd(b"") == "it is empty"
    assert initrd(bytes(70_000)) == "it holds nothing but zeros"
    assert initrd(b"#!/bin/sh") == ("it is not an initial RAM disk (it begins with 23 21 2f 62)")
    at = len(archive)
    assert initrd(archive + b"rubbish") == (
        f"what is at its byte {at} is no archive (it begins with 72 75 62 62)"
    )


def test_damaged_archives(initrds: dict[str, bytes], archive: bytes) -> None:
    data = initrds["gzip"]
    assert initrd(data[:200] + b"\xff" * 8 + data[208:]).startswith("it does not decompress: ")
    at = archive.index(b"070701", 10)
    assert initrd(archive[:at] + b"X" + archive[at + 1 :]) == (
        f"its cpio archive is damaged at byte {at}"
    )
    assert initrd(archive[:54] + b"zz" + archive[56:]) == "its cpio archive is damaged at byte 0"


def test_the_kernel_of_a_distribution(demo_system: str) -> None:
    data = (Path(demo_system) / "kernel").read_bytes()
    assert check_kernel(data[:4096], len(data)) == "x86"
    with pytest.raises(PayloadError) as caught:
        check_kernel(data[:4096], len(data) // 2)
    found = re.fullmatch(rf"it is cut short: {len(data) // 2} bytes of (\d+)", str(caught.value))
    assert found is not None
    assert 0.9 * len(data) < int(found[1]) <= len(data)  # less a signature
    with (Path(demo_system) / "initrd").open("rb") as file:
        check_initrd(file)


def test_kernels() -> None:
    data = made_up_kernel(50_000)
    assert check_kernel(data, len(data)) == "x86"
    # arm64 booting.rst, "4. Call the kernel image"; boot-image-header.rst; zboot-header.S.
    assert check_kernel(b"MZ".ljust(0x38, b"\0") + b"ARM\x64") == "arm64"
    assert check_kernel(b"MZ".ljust(0x38, b"\0") + b"RSC\x05") == "riscv64"
    zboot = b"MZ\0\0zimg" + (0x1000).to_bytes(4, "little") + (0x2000).to_bytes(4, "little")
    assert check_kernel(zboot, 0x3000) is None
    for header, size, words in [
        (zboot, 0x2FFF, "it is cut short: 12287 bytes of 12288"),
        (b"", 0, "it is empty"),
        (b"\x7fELF" * 200, 800, "it is not a Linux kernel"),
    ]:
        with pytest.raises(PayloadError) as caught:
            check_kernel(header, size)
        assert str(caught.value) == words


@given(
    begin=st.sampled_from([b"", b"070701", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"]),
    data=st.binary(max_size=300),
)
def test_any_bytes_give_an_answer(begin: bytes, data: bytes) -> None:
    assert "\n" not in initrd(begin + data) + start(begin + data)
