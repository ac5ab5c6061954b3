"""Where GRUB finds what a menu names: the file systems with /boot and with the store."""

from collections.abc import Callable
from dataclasses import dataclass

from assembler.boot.volumes import Volume
from assembler.filesystems.kind import Kind

BOOT = "/boot"


@dataclass(frozen=True, slots=True)
class Places:
    """Where /boot and the store are.

    `boot_path` is GRUB's path of /boot in `boot`: `/boot`, or empty where /boot is the top of a
    file system of its own, or `/@/boot` in a subvolume of a btrfs. `locate` returns GRUB's path in
    `store` for a path of the root. `separate` is whether stat(2) sees /boot and /nix/store on
    different devices, which are partitions or subvolumes: then NixOS copies kernels into /boot.
    """

    boot: Volume
    boot_path: str
    store: Volume
    locate: Callable[[str], str]
    separate: bool
    boot_kind: Kind
