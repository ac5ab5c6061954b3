"""What tests run of the system's own boot loader installer, and of what it leaves.

The demo's installer behaves as NixOS's: it writes the menu at every change of generation, and
installs GRUB anew only when something differs from what was installed, or when INSTALL is set.
"""

import shlex

PROFILE = "/nix/var/nix/profiles/system"
SWITCH = f"{PROFILE}/bin/switch-to-configuration boot"
INSTALL = f"NIXOS_INSTALL_BOOTLOADER=1 {SWITCH}"
GRUB_BIOS = "installing the GRUB 2 boot loader on /dev/vda..."
GRUB_EFI = "installing the GRUB 2 boot loader into {}..."


def installed(table: str) -> str:
    """A command that prints what is installed, as opposed to what is configured.

    That is boot sector and core image, which lie before the root or are in the second MiB, and the
    programs on the ESP.
    """
    mib = 1 if table == "legacy" else 2
    return (
        f"head -c {mib}M /dev/vda | sha256sum; "
        "find /boot/EFI /boot/efi/EFI /efi/EFI -iname '*.efi' ! -path '*/nixos/*' 2>/dev/null | "
        "sort | xargs -r sha256sum"
    )


def announced(printed: str) -> list[str]:
    """What an installer prints when it installs."""
    return [line for line in printed.splitlines() if line.startswith("installing")]


def commands(menu: str) -> list[list[str]]:
    """The commands of a grub.cfg as words: without comments, quotes, indentation, empty lines."""
    split = (shlex.split(line, comments=True) for line in menu.splitlines())
    return [words for words in split if words]
