"""Core images are read back as grub-mkimage made them, and damaged ones are refused.

Without these tests, a disk whose GRUB is damaged can pass the check, or keep it busy for minutes.
"""

import shlex
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.binaries.core_image import (
    Block,
    CoreImage,
    CoreImageError,
    _read_modules,
    read_bios_core,
    read_blocklist,
    read_efi_core,
)
from assembler.boot.grub.bios import embed
from tests.support.helpers import output
from tests.support.places import AsRoot

GRUB = Path("/usr/lib/grub")
EARLY = "search.fs_uuid 6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f root\nset prefix=($root)/boot/grub\n"
EFI_PLATFORMS = ["x86_64-efi", "i386-efi"]
SIGNED = GRUB / "x86_64-efi-signed" / "grubx64.efi.signed"
SHIM = Path("/usr/lib/shim/shimx64.efi.signed")

Cores = dict[str, bytes]


def make(directory: Path, platform: str, *options: str | Path) -> bytes:
    core = directory / f"core-{platform}"
    output("grub-mkimage", "-O", platform, "-o", core, *options)
    return core.read_bytes()


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> Cores:
    """Core images of each platform, with an early configuration."""
    directory = tmp_path_factory.mktemp("cores")
    early = directory / "early.cfg"
    early.write_text(EARLY)
    options: list[str | Path] = [
        "-p",
        "/boot/grub",
        "-c",
        early,
        "ext2",
        "part_gpt",
        "search_fs_uuid",
    ]
    return {
        platform: make(directory, platform, *options) for platform in ["i386-pc", *EFI_PLATFORMS]
    }


def dependencies(platform: str, *modules: str) -> set[str]:
    """The modules and what they need, as GRUB's own list has it."""
    lines = (GRUB / platform / "moddep.lst").read_text().splitlines()
    needs = {name: words.split() for name, words in (line.split(":", 1) for line in lines)}
    found: set[str] = set()
    wanted = list(modules)
    while wanted:
        if (module := wanted.pop()) not in found:
            found.add(module)
            wanted += needs[module]
    return found


def read(platform: str, core: bytes) -> CoreImage:
    return read_bios_core(core) if platform == "i386-pc" else read_efi_core(core)


@pytest.mark.parametrize("platform", ["i386-pc", *EFI_PLATFORMS])
def test_what_it_was_built_with_is_read(platform: str, cores: Cores) -> None:
    image = read(platform, cores[platform])
    assert (image.platform, image.prefix, image.config) == (platform, "/boot/grub", EARLY)
    assert not image.memdisk
    assert set(image.modules) == dependencies(platform, "ext2", "part_gpt", "search_fs_uuid")
    assert len(set(image.modules)) == len(image.modules)


@pytest.mark.parametrize("platform", ["i386-pc", "x86_64-efi"])
def test_without_a_configuration(platform: str, tmp_path: Path) -> None:
    image = read(platform, make(tmp_path, platform, "-p", "(hd0,gpt2)/grub"))
    assert image == CoreImage(platform, "(hd0,gpt2)/grub", None, False, ())


@pytest.mark.parametrize("platform", ["i386-pc", "x86_64-efi"])
def test_a_memdisk_is_told(platform: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"mimg" * 256)  # as in the kernel's code: no module area begins here
    image = read(platform, make(tmp_path, platform, "-m", disk, "-p", "/x", "memdisk"))
    assert image.memdisk
    assert image.prefix == "/x"


def test_debians_signed_grub() -> None:
    image = read_efi_core(SIGNED.read_bytes())
    assert (image.platform, image.prefix, image.memdisk) == ("x86_64-efi", "/EFI/debian", True)
    assert {"ext2", "btrfs", "xfs", "fat", "linux"} <= set(image.modules)


def test_one_that_is_installed(cores: Cores) -> None:
    """Whole sectors, and what lies behind them on the disk."""
    boot_img = (GRUB / "i386-pc" / "boot.img").read_bytes()
    _, core = embed(boot_img, cores["i386-pc"], core_lba=2048, room=1 << 20, mbr=bytes(512))
    assert read_blocklist(core[:512]) == (Block(2049, len(core) // 512 - 1, 0x820),)
    assert read_bios_core(core) == read_bios_core(cores["i386-pc"])
    assert read_bios_core(core + b"\xff" * 4096) == read_bios_core(cores["i386-pc"])


def test_one_with_reed_solomon_codes(cores: Cores, tmp_path: Path, as_root: AsRoot) -> None:
    """As grub-bios-setup installs it by default: codes fill the whole gap."""
    image = tmp_path / "disk.raw"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    output("/sbin/sfdisk", image, stdin=b"label: dos\nstart=2048\n")
    (tmp_path / "boot.img").write_bytes((GRUB / "i386-pc" / "boot.img").read_bytes())
    (tmp_path / "core.img").write_bytes(cores["i386-pc"])
    (tmp_path / "device.map").write_text(f"(hd0) {image}\n")
    table = tmp_path / "mountinfo"
    table.write_text(f"100 1 8:1 / / rw - ext4 {image} rw\n")
    setup = [GRUB / "i386-pc" / "grub-bios-setup", "-m", tmp_path / "device.map", "-d", tmp_path]
    script = (
        f"mount --bind {shlex.quote(str(table))} /proc/$$/mountinfo && "
        f"exec {shlex.join(str(word) for word in [*setup, image])}"
    )
    as_root("unshare", "--mount", "sh", "-c", script)
    core = image.read_bytes()[512:]
    [block] = read_blocklist(core[:512])
    assert block.lba == 2
    assert block.sectors == 2 * -(-len(cores["i386-pc"]) // 512) - 1
    assert read_bios_core(core) == read_bios_core(cores["i386-pc"])


def bios(core: bytes) -> str:
    with pytest.raises(CoreImageError) as caught:
        read_bios_core(core)
    return str(caught.value)


def test_damaged_ones_for_bios(cores: Cores) -> None:
    core = cores["i386-pc"]
    damaged = "it does not decompress: it is damaged, or was written over"
    assert bios(b"") == "its first sector has no list of the others"
    assert bios(bytes(4096)) == "its first sector has no list of the others"
    assert bios(core[:512] + bytes(len(core))) == "its second sector is not GRUB's decompressor"
    assert bios(core[:9000]) == f"it is cut short: 9000 bytes of {-(-len(core) // 512) * 512}"
    for at in (4000, 12345, len(core) - 600):
        assert bios(core[:at] + bytes([core[at] ^ 1]) + core[at + 1 :]) == damaged
    assert bios(core[:-512].ljust(len(core), b"\0")) == damaged
    assert bios(core[: 512 + 0xC] + b"\xff" * 4 + core[512 + 0x10 :]) == (
        "it claims to decompress to 4294967295 bytes"
    )


def efi(program: bytes) -> str:
    with pytest.raises(CoreImageError) as caught:
        read_efi_core(program)
    return str(caught.value)


def test_other_efi_programs(cores: Cores) -> None:
    core = cores["x86_64-efi"]
    assert efi(b"") == "it is not an EFI program (no MZ header)"
    assert efi(b"MZ" + bytes(4096)) == "it is not an EFI program (no PE header)"
    assert efi(SHIM.read_bytes()) == "it is not GRUB, or holds no modules"
    assert efi(core[:-1]).startswith(f"it is cut short: {len(core) - 1} bytes, but section .reloc")
    at = core.rindex(b"\x7fELF") - 4  # the size of the last module
    assert efi(core[:at] + b"\xff" * 4 + core[at + 4 :]) == "its list of modules is damaged"
    at = core.index(b"PE\0\0") + 4
    assert efi(core[:at] + b"\x34\x12" + core[at + 2 :]) == (
        "it is an EFI program for an unknown machine (0x1234)"
    )


@settings(max_examples=60)
@given(data=st.data(), platform=st.sampled_from(["i386-pc", *EFI_PLATFORMS]))
def test_any_damage_gives_an_error_or_an_image(
    cores: Cores, data: st.DataObject, platform: str
) -> None:
    core = bytearray(cores[platform])
    headers = st.integers(0, 0x300) | st.integers(0, len(core) - 1)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(headers)
        core[at : at + 4] = data.draw(st.binary(min_size=1, max_size=4))
    core = core[: data.draw(st.integers(0, len(core)) | st.just(len(core)))]
    try:
        image = read(platform, bytes(core))
    except CoreImageError as error:
        assert "\n" not in str(error)
    else:
        assert image.platform.split("-")[1] == platform.split("-")[1]


@given(data=st.binary(max_size=2048), start=st.sampled_from([b"", b"MZ", b"mimg"]))
def test_any_bytes_give_an_error(data: bytes, start: bytes) -> None:
    for reader in (read_bios_core, read_efi_core):
        with pytest.raises(CoreImageError):
            reader(start + data)


@pytest.mark.parametrize("fill", [b"\0" * 16, b"\0" + b"\1" * 15, b"\0" * 15 + b"\1", b"mimg" * 4])
def test_made_up_ones_end_soon(fill: bytes) -> None:
    """In their sectors an LZMA stream may begin at many places, and none is whole."""
    core = bytearray(fill * (1 << 15))
    struct.pack_into("<QHH", core, 500, 2049, 800, 0x820)
    struct.pack_into("<QHH", core, 488, 0, 0, 0)
    core[512:513] = b"\xea"
    struct.pack_into("<IIII", core, 520, 400_000, 16 << 20, 0, 0)
    begun = time.process_time()
    with pytest.raises(CoreImageError):
        read_bios_core(bytes(core))
    with pytest.raises(CoreImageError):
        _read_modules("x86_64-efi", fill * (1 << 20))
    assert time.process_time() - begun < 20
