"""Name what a file is that is no raw disk image, by its first bytes.

The formats that `assemble` writes are not among them: check-image unpacks those. The magic numbers
are those of the programs that write the formats: QEMU (block/*.c) and libmagic's files.
"""

import os
import stat
from pathlib import Path

_HEAD = 64 << 10  # bytes, which hold all magic numbers below
_CHUNK = 1 << 20

_COMPRESSED = "{}; unpack it first"
_DISKS = "{}; convert it with qemu-img convert -O raw"

# Place in the file, magic number, and what has it there. Those that may lie in a raw image as
# well, in bytes that no partition table uses, come with a longer magic number.
_MAGIC = (
    (0, b"QED\0", _DISKS.format("a QED image")),
    (0, b"COWD", _DISKS.format("a VMDK image")),
    (0, b"# Disk DescriptorFile", _DISKS.format("the descriptor of a VMDK image")),
    (0, b"WithoutFreeSpace", _DISKS.format("a Parallels image")),
    (0, b"WithouFreSpacExt", _DISKS.format("a Parallels image")),
    (0, b"\x3a\xff\x26\xed", "an Android sparse image; convert it with simg2img"),
    (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
    (0, b"BZh", _COMPRESSED.format("compressed with bzip2")),
    (0, b"\x04\x22\x4d\x18", _COMPRESSED.format("compressed with lz4")),
    (0, b"\x5d\0\0", _COMPRESSED.format("compressed with lzma")),
    (0, b"LZIP", _COMPRESSED.format("compressed with lzip")),
    (0, b"7z\xbc\xaf\x27\x1c", _COMPRESSED.format("a 7z archive")),
    (0, b"PK\x03\x04", _COMPRESSED.format("a zip archive")),
    (0x101, b"ustar", _COMPRESSED.format("a tar archive")),
    (0, b"070701", "a cpio archive"),
    (0, b"hsqs", "a squashfs"),
    (0x202, b"HdrS", "a Linux kernel"),
    (0, b"\x7fELF", "a program (ELF)"),
    (0, b"MZ", "a program for Windows or EFI"),
    (0, b"nix-archive-1", "a Nix archive (NAR)"),
    (8, b"nix-archive-1", "a Nix archive (NAR)"),
    (0x8001, b"CD001\x01", "an ISO 9660 image, for a CD or a USB stick"),
)
_MBR = b"\x55\xaa"

# For anything that is not a regular file.
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def not_a_file(path: Path) -> str:
    """What `path` is, in words, if it is no regular file, which is never opened; raises OSError."""
    mode = path.stat().st_mode
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")


def not_raw(path: Path) -> str:
    """What a regular file is, in words, if it has the mark of another format; raises OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_HEAD)
    if not size:
        return "empty"
    for at, magic, words in _MAGIC:
        # Boot code of a raw image begins with any bytes, and it has this signature.
        short = len(magic) < 4 and head[510:512] == _MBR
        if head.startswith(magic, at) and not short:
            return words
    return ""


def without_table(path: Path) -> str:
    """What a file without any partition table looks like, in words; raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if _is_text(head):
            return "a text file"
        if not any(head) and _holds_zeros(file.fileno(), os.fstat(file.fileno()).st_size):
            return "nothing but zeros"
    return ""


def _is_text(head: bytes) -> bool:
    try:
        # The last character may be cut.
        words = head.decode() if len(head) < _HEAD else head.decode(errors="ignore")
    except UnicodeDecodeError:
        return False
    return all(one.isprintable() or one in "\t\n\r\f\x1b" for one in words)


def _holds_zeros(descriptor: int, size: int) -> bool:
    """Whether a file has no other bytes than 0; holes are passed over."""
    at = 0
    while at < size:
        try:
            at = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # only a hole is left
            return True
        chunk = os.pread(descriptor, _CHUNK, at)
        if not chunk or any(chunk):
            return not chunk
        at += len(chunk)
    return True
