"""What makes the disk boot: bootspec, grub.cfg and GRUB."""
