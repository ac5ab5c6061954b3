"""FAT, for the partitions that firmware reads."""
