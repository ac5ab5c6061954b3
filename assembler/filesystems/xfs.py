"""XFS, made in an appliance."""

import shlex

from assembler.filesystems.bounds import Bounds
from assembler.filesystems.kind import RootKind
from assembler.filesystems.limits import Limits
from assembler.filesystems.protocol import RootFileSystem
from assembler.units import KIB, MIB


def _make(target: RootFileSystem, device: str) -> list[str]:
    # GRUB 2.06 does not read large extent counts; releases of mkfs.xfs that do not make them do
    # not have the option.
    make = f"mkfs.xfs -q -f -K -L {shlex.quote(target.label)} -m uuid={target.uuid}"
    return [f"{make} -i nrext64=0 {device} 2>/dev/null || {make} {device}"]


XFS = RootKind(
    name="xfs",
    title="xfs",
    magics=((0, b"XFSB"),),  # fs/xfs/libxfs/xfs_format.h in Linux
    grub_module="xfs",
    label_bytes=12,  # sb_fname
    # fs/xfs/libxfs/xfs_format.h in Linux. Numbers of blocks reach beyond what Linux can address,
    # and an xattr may have as many bytes as Linux allows.
    limits=Limits(
        symlink=1023,  # XFS_SYMLINK_MAXLEN, with its NUL
        names=(1 << 31) - 1,  # XFS_MAXLINK
        # XFS_BIGTIME_TIME_MAX: 64 bits of nanoseconds, counted from 1901. mkfs.xfs makes such
        # times (bigtime) unless it is older than 5.15.
        time=(((1 << 64) - 1) // 10**9 & ~3) - (1 << 31),
    ),
    # A log of 64 MiB at least, inodes of 512 bytes, and in each allocation group a reserve for
    # its trees (xfs_ag_resv.c in Linux). mkfs.xfs makes none below 300 MB.
    sizes=Bounds(smallest=304 * MIB, fixed=96 * MIB, inode=KIB, per_mille=25),
    make=_make,
    mount_options="noatime",
    check="xfs_repair -n",
    appliance_package="libguestfs-xfs",
)
