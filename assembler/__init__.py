"""Turn a Nix closure into a bootable disk image, entirely in user space."""
