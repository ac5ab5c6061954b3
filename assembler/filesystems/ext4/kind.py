"""ext4 as a kind of file system."""

from assembler.filesystems.ext4.mke2fs import shell_command
from assembler.filesystems.ext4.size import Ext4Sizes
from assembler.filesystems.ext4.used import used_by_ext4
from assembler.filesystems.ext4.writer import DirectWriter
from assembler.filesystems.kind import RootKind

EXT4 = RootKind(
    name="ext4",
    title="ext4",
    magics=((0x438, b"\x53\xef"),),  # s_magic: filesystems/ext4/super.rst in Linux
    grub_module="ext2",
    label_bytes=16,  # s_volume_name
    sizes=Ext4Sizes(),
    make=shell_command,
    mount_options="noatime,nobarrier,data=writeback,noauto_da_alloc",
    check="e2fsck -fn",
    has_fixed_inodes=True,
    used=used_by_ext4,
    direct=DirectWriter(),
)
