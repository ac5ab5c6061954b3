"""Where GRUB finds what a menu names: the file systems with /boot and with the store."""

from collections.abc import Callable
from dataclasses import dataclass

BOOT = "/boot"


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system as GRUB's `search` knows it.

    `uuid` is in the form of blkid(8): lower case with dashes, or `ABCD-1234` for a FAT.
    """

    uuid: str
    label: str


@dataclass(frozen=True, slots=True)
class Places:
    """Where /boot and the store are.

    `boot_path` is GRUB's path of /boot in `boot`: `/boot`, or empty where /boot is the top of a
    file system of its own, or `/@/boot` in a subvolume of a btrfs. `locate` gives GRUB's path in
    `store` for a path of the root. `separate` tells that stat(2) sees /boot and /nix/store on
    different devices, be it partitions or subvolumes: then NixOS copies kernels into /boot.
    """

    boot: FileSystem
    boot_path: str
    store: FileSystem
    locate: Callable[[str], str]
    separate: bool
