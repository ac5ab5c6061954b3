"""Follows GRUB's menus in an image."""
