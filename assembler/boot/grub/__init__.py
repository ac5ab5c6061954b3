"""GRUB."""
