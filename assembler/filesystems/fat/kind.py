"""FAT as a kind of file system: for the partitions that firmware and boot loaders read."""

import re

from assembler.filesystems.kind import Kind

FAT = Kind(
    name="vfat",
    title="FAT",
    # "FAT12/16/32 FS type" of Microsoft's FAT specification (fatgen103).
    magics=((0x36, b"FAT1"), (0x52, b"FAT32")),
    grub_module="fat",
    label_bytes=11,
    # As mkfs.fat(8) takes it; blkid(8) takes spaces off its end, and takes NO NAME for no label.
    label_form=re.compile(
        r"(?! )(?!NO NAME$)[^\x00-\x1f\x7f-\U0010ffff*?.,;:/\\|+=<>\[\]\"]{1,11}(?<! )"
    ),
    label_rule='at most 11 characters of ASCII, none of *?.,;:/\\|+=<>[]"',
)
