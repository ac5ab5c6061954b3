"""Kernels and initial RAM disks, made by the programs that make real ones.

Without these tests, a kernel or an initrd that was cut short can pass the check, and the machine
does not start.
"""

import gzip
import random
import re
import struct
import subprocess
import time
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.binaries.decompress import PayloadError
from assembler.binaries.kernel_files import (
    check_devicetree,
    check_initrd,
    check_initrd_start,
    check_kernel,
    check_whole_kernel,
)
from tests.support.helpers import output
from tests.support.systems import made_up_kernel

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
FOLLOWED = [*COMPRESSORS]


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


@pytest.mark.parametrize("name", FOLLOWED)
def test_one_damaged_in_the_middle(initrds: dict[str, bytes], name: str) -> None:
    """Nothing guards the data of a cpio archive, of LZ4, and of a zstd without a checksum."""
    data = bytearray(initrds[name])
    for at in range(len(data) // 2, len(data) // 2 + 20):
        data[at] ^= 0x55
    guarded = name not in ("cpio", "lz4", "lzma", "zstd-levels")
    assert bool(initrd(bytes(data))) or not guarded


def test_zstd_without_its_library(
    initrds: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assembler.binaries.decompress.is_available", lambda: False)
    for name in ("zstd", "zstd-levels", "zstd-stream"):
        assert initrd(initrds[name]) == ""
        assert "cut short" in initrd(initrds[name][:-1])


@pytest.mark.parametrize("field", range(13))
@pytest.mark.parametrize(
    "number", [b"-0000070", b"+0000070", b" 0000070", b"0x000070", b"0_000070"]
)
def test_numbers_of_cpio_are_eight_digits(archive: bytes, field: int, number: bytes) -> None:
    at = 6 + 8 * field
    data = archive[:at] + number + archive[at + 8 :]
    assert initrd(data) == "its cpio archive is damaged at byte 0"


def test_archives_that_never_end() -> None:
    """In few seconds, whatever the sizes are that they claim."""
    empty = b"070701" + b"0" * 104
    begun = time.process_time()
    assert initrd(empty.ljust(112, b"\0") * 100_000) != ""
    assert "decompresses to more than" in bomb()
    assert initrd(b"\x28\xb5\x2f\xfd\0\0" + b"\0\0\0" * 1_000_000) != ""
    assert initrd(b"\x02\x21\x4c\x18" * 1_000_000) == ""
    assert initrd((b"\x1f\x8b\x08" + bytes(20)) * 10_000) != ""
    assert time.process_time() - begun < 30


def bomb() -> str:
    """A gzip of more zeros than a machine can hold, with a limit that a test can wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assembler.binaries.decompress._MAX_UNPACKED", 32 << 20)
        return initrd(gzip.compress(bytes(40 << 20)))


def start(data: bytes) -> str:
    """What the first 4096 bytes show."""
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


def whole(data: bytes) -> str:
    try:
        check_whole_kernel(BytesIO(data))
    except PayloadError as error:
        return str(error)
    return ""


def test_a_distributions_kernel_is_read_whole(demo_system: str) -> None:
    """It is of a release that has a checksum, and signed, which changes what the sum is of."""
    data = bytearray((Path(demo_system) / "kernel").read_bytes())
    assert whole(bytes(data)) == ""
    for at in (0x30, 0x1000, 0x8000, len(data) // 2, len(data) // 2 + 1_000_000):
        data[at] ^= 1
        assert whole(bytes(data)) == "its checksum is wrong: it is damaged"
        data[at] ^= 1


def bzimage(payload: bytes, *, release: bytes = b"", messages: int | None = None) -> bytes:
    """A kernel that holds compressed data (boot.rst), 64 bytes behind its setup."""
    setup = bytearray(1024)
    setup[0x1F1] = 1
    setup[0x1FE:0x208] = b"\x55\xaa\0\0HdrS\x0f\x02"
    setup[0x20E:0x210] = (0x100).to_bytes(2, "little")
    setup[0x300 : 0x300 + len(release)] = release
    if messages is not None:
        payload += messages.to_bytes(4, "little")
    setup[0x248:0x250] = struct.pack("<II", 64, len(payload))
    code = (bytes(64) + payload).ljust(-(-(len(payload) + 64) // 16) * 16, b"\0")
    setup[0x1F4:0x1F8] = (len(code) // 16).to_bytes(4, "little")
    return bytes(setup) + code


NEW = b"6.18.1 (builder@host) #1-NixOS SMP"


@pytest.mark.parametrize("name", COMPRESSORS)
def test_what_a_kernel_decompresses(name: str) -> None:
    if name == "cpio":
        return
    inner = random.Random(7).randbytes(100_000)
    packed = output(*COMPRESSORS[name], stdin=inner)
    messages = None if name == "gzip" else len(inner)
    good = bzimage(packed, release=NEW, messages=messages)
    assert whole(good) == ""
    damaged = bytearray(good)
    for at in range(1500, 1540):
        damaged[at] ^= 0x77
    assert whole(bytes(damaged)) or name in ("lz4", "lzma", "zstd-levels")
    if name != "gzip":
        words = f"it decompresses to {len(inner)} bytes, not to 7"
        assert whole(bzimage(packed, release=NEW, messages=7)) in (
            words,
            "" if name == "lz4" else words,
        )


def test_kernels_that_decompress_nothing() -> None:
    words = "what it should decompress, from byte 1088 on, is not compressed"
    assert whole(bzimage(bytes(5000), release=NEW)) == words
    good = bzimage(gzip.compress(b"x" * 5000), release=NEW)
    cut = good[:0x24C] + struct.pack("<I", 10) + good[0x250:]
    assert whole(cut) == "what it should decompress goes on beyond its byte 1098"
    far = good[:0x248] + struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFFF) + good[0x250:]
    assert whole(far).startswith("it is cut short: ")


def test_the_checksum_is_that_of_old_kernels_alone() -> None:
    """Linux 6.16 and later have none: "x86/boot: Drop CRC-32 checksum and the build tool"."""
    payload = gzip.compress(b"x" * 5000)
    assert whole(bzimage(payload, release=b"6.16.0 (b@h) #1")) == ""
    assert whole(bzimage(payload, release=b"6.15.9 (b@h) #1")) == (
        "its checksum is wrong: it is damaged"
    )
    old = bzimage(payload, release=b"6.15.9 (b@h) #1") + bytes(12)
    old = old[:0x1F4] + ((len(old) + 4 - 1024) // 16).to_bytes(4, "little") + old[0x1F8:]
    assert whole(old + (zlib.crc32(old) ^ 0xFFFFFFFF).to_bytes(4, "little")) == ""


def test_an_efi_zboot_is_read_whole() -> None:
    packed = gzip.compress(random.Random(7).randbytes(10_000))
    header = b"MZ\0\0zimg" + struct.pack("<II", 4096, len(packed))
    image = header.ljust(4096, b"\0") + packed
    assert whole(image) == ""
    assert whole(image[:5000] + b"\xff" * 8 + image[5008:]).startswith("it does not decompress")


@given(data=st.binary(max_size=200), at=st.integers(0, 1100))
def test_any_kernel_gives_an_answer(data: bytes, at: int) -> None:
    good = bzimage(gzip.compress(b"x" * 500), release=NEW)
    assert "\n" not in whole(good[:at] + data + good[at + len(data) :])


def test_kernels() -> None:
    data = made_up_kernel(50_000)
    assert check_kernel(data, len(data)) == "x86"
    # arm64 booting.rst, "4. Call the kernel image"; zboot-header.S.
    assert check_kernel(b"MZ".ljust(0x38, b"\0") + b"ARM\x64") == "arm64"
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
