"""f2fs, made in an appliance."""

import shlex

from assembler.filesystems.bounds import Bounds
from assembler.filesystems.kind import RootKind
from assembler.filesystems.limits import Limits
from assembler.filesystems.protocol import RootFileSystem
from assembler.units import BLOCK, MIB, TIB

_ADDRESSES = 1018  # in a block of them: DEF_ADDRS_PER_BLOCK, NIDS_PER_BLOCK


def _make(target: RootFileSystem, device: str) -> list[str]:
    label = shlex.quote(target.label)
    return [f"mkfs.f2fs -q -f -t 0 -l {label} -U {target.uuid} {device}"]


F2FS = RootKind(
    name="f2fs",
    title="f2fs",
    magics=((0x400, b"\x10\x20\xf5\xf2"),),  # include/uapi/linux/magic.h in Linux
    grub_module="f2fs",
    label_bytes=255,  # volume_name, which has room for 512 characters of UTF-16
    # include/linux/f2fs_fs.h and fs/f2fs/xattr.h in Linux. Times have 64 bits.
    limits=Limits(
        size=16 * TIB,  # F2FS_MAX_SEGMENT, each of 2 MiB
        # max_file_blocks() in fs/f2fs/super.c: two blocks of addresses, two of such blocks, and one
        # of blocks of such blocks. The addresses in the inode do not count.
        file=(2 * _ADDRESSES + 2 * _ADDRESSES**2 + _ADDRESSES**3) * BLOCK,
        # All are in one block, less its footer and their header. What the inode itself has room
        # for (inline_xattr, a mount option) does not count. Each has an entry, and is padded to 4
        # bytes.
        xattrs=BLOCK - 24 - 24,
        xattr_entry=4 + 3,
    ),
    # A block for each inode, and segments kept back for cleaning (mkfs.f2fs(8), -o).
    sizes=Bounds(smallest=128 * MIB, fixed=256 * MIB, inode=BLOCK, per_mille=120),
    make=_make,
    mount_options="noatime",
    check="fsck.f2fs --dry-run",
    appliance_package="f2fs-tools",
)
