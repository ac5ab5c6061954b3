#!/usr/bin/env python3
# The settings of systemd-boot, as NixOS's installer has them at its head, and how it uses them.
from pathlib import Path

EFI_SYS_MOUNT_POINT = Path("@esp@")
BOOT_MOUNT_POINT = Path("/boot")
NIXOS_DIR = Path("/EFI/nixos".strip("/"))
TIMEOUT = "0"  # NixOS: 5
EDITOR = "1" == "1"  # noqa: PLR0133
CONSOLE_MODE = "keep"
DISTRO_NAME = "NixOS"
CONFIGURATION_LIMIT = int("0")
STORE_DIR = "/nix/store"


def write_loader_conf(default_entry_id: str) -> None:
    with (EFI_SYS_MOUNT_POINT / "loader/loader.conf").open("w") as f:
        f.write(f"timeout {TIMEOUT}\n")
        f.write(f"default {default_entry_id}\n")
        if not EDITOR:
            f.write("editor 0\n")
        f.write(f"console-mode {CONSOLE_MODE}\n")
