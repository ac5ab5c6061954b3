"""f2fs, made in an appliance."""

import shlex

from assembler.filesystems.bounds import Bounds
from assembler.filesystems.kind import RootKind
from assembler.filesystems.protocol import RootFileSystem
from assembler.units import BLOCK, MIB


def _make(target: RootFileSystem, device: str) -> list[str]:
    label = shlex.quote(target.label)
    return [f"mkfs.f2fs -q -f -t 0 -l {label} -U {target.uuid} {device}"]


F2FS = RootKind(
    name="f2fs",
    title="f2fs",
    magics=((0x400, b"\x10\x20\xf5\xf2"),),  # include/uapi/linux/magic.h in Linux
    grub_module="f2fs",
    label_bytes=255,  # volume_name, which has room for 512 characters of UTF-16
    # A block for each inode, and segments kept back for cleaning (mkfs.f2fs(8), -o).
    sizes=Bounds(smallest=128 * MIB, fixed=256 * MIB, inode=BLOCK, per_mille=120),
    make=_make,
    mount_options="noatime",
    check="fsck.f2fs --dry-run",
)
