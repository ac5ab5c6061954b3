"""ext4, written by libext2fs without a virtual machine."""
