"""Small bootable images of every kind, made by other programs than check-image reads them with."""

import gzip
import json
import os
from collections.abc import Mapping
from pathlib import Path
from uuid import NAMESPACE_DNS, UUID, uuid5

from assembler.boot.grub.bios import BiosCode
from assembler.disk.layout import Layout, Partition, make_layout
from assembler.disk.table_writer import write_table
from assembler.disk.tables import Table
from assembler.units import MIB
from tests.support.helpers import output
from tests.support.systems import made_up_kernel

GRUB = Path("/usr/lib/grub")
ROOT_UUID = UUID("6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f")
FAT_UUID = "1234-ABCD"
LABEL = "nixos"
HASH = "0" * 32
KERNEL = f"/nix/store/{HASH}-linux/bzImage"
INITRD = f"/nix/store/{HASH}-initrd/initrd"
INIT = f"/nix/store/{HASH}-system/init"
MODULES = [
    *("part_gpt", "part_msdos", "ext2", "btrfs", "xfs", "fat"),
    *("search_fs_uuid", "search_label", "search"),
    *("normal", "configfile", "linux", "test", "echo"),
]
EARLY = f"search.fs_uuid {ROOT_UUID} root\nset prefix=($root)/boot/grub\n"

_SMALLEST = {"ext4": 8, "btrfs": 120, "xfs": 320}  # MiB

Files = Mapping[str, bytes]


def menu(kernel: str = KERNEL, initrd: str = INITRD, search: str = f"--fs-uuid {ROOT_UUID}") -> str:
    """A menu with one entry, as NixOS itself writes them."""
    return "\n".join(
        [
            "set default=0",
            "set timeout=1",
            'menuentry "NixOS - Default" --class nixos --unrestricted {',
            f"  search --set=drive1 {search}",
            f"  linux ($drive1)/{kernel} init={INIT} loglevel=4",
            f"  initrd ($drive1)/{initrd}",
            "}",
            "",
        ]
    )


def root_files(grub_cfg: str | None = None) -> dict[str, bytes]:
    """A root that boots."""
    files = {
        KERNEL: made_up_kernel(100_000),
        INITRD: gzip.compress(os.urandom(50_000)),
        INIT: b"#!/bin/sh\n",
    }
    if grub_cfg is not None:
        files["/boot/grub/grub.cfg"] = grub_cfg.encode()
    return files


def core_image(directory: Path, platform: str, early: str = EARLY, prefix: str = "/x") -> bytes:
    """A core image with all that any of these images needs."""
    config, core = directory / "early.cfg", directory / "core"
    config.write_text(early)
    modules = [*MODULES, *(["biosdisk"] if platform == "i386-pc" else [])]
    output("grub-mkimage", "-O", platform, "-p", prefix, "-c", config, "-o", core, *modules)
    return core.read_bytes()


def make(image: Path, table: Table, root_size: int, sector_size: int = 512) -> Layout:
    """An image with a partition table and nothing else."""
    layout = make_layout(
        table,
        root_size=root_size,
        boot_size=40 * MIB,
        seed=lambda name: uuid5(NAMESPACE_DNS, name),
        sector_size=sector_size,
    )
    with image.open("wb") as file:
        file.truncate(layout.size)
    write_table(image, layout)
    return layout


def build(
    image: Path,
    table: Table,
    root: Files,
    *,
    esp: Files | None = None,
    xbootldr: Files | None = None,
    core: bytes | None = None,
    kind: str = "ext4",
    sector_size: int = 512,
) -> Layout:
    """Make an image: file systems out of files, and boot code out of a core image for BIOS."""
    layout = make(image, table, _SMALLEST[kind] * MIB, sector_size)
    scratch = image.parent / "file-system"
    _put(image, layout.root, _linux(scratch, root, layout.root.size, kind))
    for part, files in ((layout.esp, esp), (layout.xbootldr, xbootldr)):
        if part is not None:
            _put(image, part, _fat(scratch, files or {}, part.size, sector_size))
    if core is not None:
        boot_img = (GRUB / "i386-pc" / "boot.img").read_bytes()
        BiosCode(boot_img, core).install(image, layout)
    return layout


def write(image: Path, number: int, path: str, data: bytes) -> None:
    """Replace a file in the ext4 of a partition."""
    (image.parent / "data").write_bytes(data)
    debugfs(image, number, f"rm {path}", f"write {image.parent / 'data'} {path}")


def start(image: Path, number: int) -> int:
    """Where a partition of an image begins, in bytes."""
    table = json.loads(output("/sbin/sfdisk", "--json", image))["partitiontable"]
    return int(table["partitions"][number - 1]["start"]) * 512


def debugfs(image: Path, number: int, *requests: str) -> None:
    """Have debugfs change the ext4 of a partition."""
    script = "\n".join([f"open -w {image}?offset={start(image, number)}", *requests, "close"])
    output("/sbin/debugfs", "-f", "-", stdin=script.encode())


def poke(image: Path, at: int, data: bytes) -> None:
    """Write bytes into an image."""
    with image.open("r+b") as file:
        file.seek(at)
        file.write(data)


def esp_of(image: Path) -> str:
    """The first partition, for mtools."""
    return f"{image}@@{start(image, 1)}"


def _tree(directory: Path, files: Files) -> Path:
    for name, data in files.items():
        file = directory / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return directory


def _linux(scratch: Path, files: Files, size: int, kind: str) -> Path:
    tree = _tree(scratch.with_name(f"{scratch.name}-root"), files)
    scratch.unlink(missing_ok=True)
    with scratch.open("wb") as file:
        file.truncate(size)
    if kind == "btrfs":
        output("/sbin/mkfs.btrfs", "-q", "-U", str(ROOT_UUID), "-L", LABEL, "-r", tree, scratch)
    elif kind == "xfs":
        prototype = scratch.with_name("prototype")
        prototype.write_text("\n".join(["nothing", "0 0", *_prototype(tree), ""]))
        options = ["-q", "-m", f"uuid={ROOT_UUID}", "-L", LABEL, "-p", str(prototype)]
        output("/sbin/mkfs.xfs", *options, scratch)
    else:
        options = ["-q", "-t", "ext4", "-U", str(ROOT_UUID), "-L", LABEL, "-d", tree]
        output("/sbin/mke2fs", *options, scratch)
    return scratch


def _prototype(directory: Path) -> list[str]:
    """What mkfs.xfs(8) makes of a directory, in the language of its prototype files."""
    lines = ["d--755 0 0"]
    for child in sorted(directory.iterdir()):
        inside = _prototype(child) if child.is_dir() else [f"---644 0 0 {child}"]
        lines += [f"{child.name} {inside[0]}", *inside[1:]]
    return [*lines, "$"]


def _fat(scratch: Path, files: Files, size: int, sector_size: int) -> Path:
    scratch.unlink(missing_ok=True)
    number = FAT_UUID.replace("-", "")
    # FAT32 has more clusters than so small a disk has sectors of 4096 bytes.
    bits = ["-F", "32" if sector_size == 512 else "16"]
    options = [*bits, "-s", "1", "-S", str(sector_size), "-i", number, "-C"]
    output("/sbin/mkfs.fat", *options, scratch, str(size // 1024))
    tree = _tree(scratch.with_name(f"{scratch.name}-{len(os.listdir(scratch.parent))}"), files)
    tree.mkdir(exist_ok=True)
    if names := sorted(tree.iterdir()):
        output("mcopy", "-s", "-i", scratch, *names, "::")
    return scratch


def _put(image: Path, part: Partition, file_system: Path) -> None:
    output(
        "dd", f"if={file_system}", f"of={image}", "bs=1M", "conv=notrunc,sparse",
        "oflag=seek_bytes", f"seek={part.start}",
    )  # fmt: skip
