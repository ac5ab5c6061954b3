"""Where things lie on the disk: sizes, layout and partition table."""
