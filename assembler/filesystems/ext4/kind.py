"""ext4 as a kind of file system."""

from assembler.filesystems.ext4.mke2fs import shell_command
from assembler.filesystems.ext4.size import Ext4Sizes
from assembler.filesystems.ext4.used import used_by_ext4
from assembler.filesystems.ext4.writer import DirectWriter
from assembler.filesystems.ext4_format import MAX_LINKS
from assembler.filesystems.kind import RootKind
from assembler.filesystems.limits import Limits
from assembler.units import BLOCK, TIB

EXT4 = RootKind(
    name="ext4",
    title="ext4",
    magics=((0x438, b"\x53\xef"),),  # s_magic: filesystems/ext4/super.rst in Linux
    grub_module="ext2",
    label_bytes=16,  # s_volume_name
    # Linux Documentation/filesystems/ext4/{blocks,ifork,inodes,attributes}.rst.
    limits=Limits(
        size=8 * TIB,  # half of what 32 bits of block numbers reach, for GRUB and growth
        file=((1 << 32) - 1) * BLOCK,  # a logical block has 32 bits in an extent
        names=MAX_LINKS,
        time=0x3_7FFF_FFFF,  # 34 bits, counted from 1901
        # All are in one block, with a header and, at the end of the entries, four zeros. Each has
        # an entry, and its name and value are padded to 4 bytes.
        xattrs=BLOCK - 32 - 4,
        xattr_entry=16 + 3 + 3,
    ),
    sizes=Ext4Sizes(),
    make=shell_command,
    mount_options="noatime,nobarrier,data=writeback,noauto_da_alloc",
    check="e2fsck -fn",
    appliance_package="e2fsprogs",
    has_fixed_inodes=True,
    used=used_by_ext4,
    direct=DirectWriter(),
)
