"""What a system mounts, and what the disk is called for it."""
