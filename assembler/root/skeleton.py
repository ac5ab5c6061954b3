"""What a NixOS root holds before its first boot, besides the store paths.

Owners and modes are those that nixos-install and Nix's own installer leave; what is missing
here, the activation script of the system makes at every boot.
"""

from typing import NamedTuple

from assembler.root import gcroots

NIXBLD_GID = 30000  # nixbld in nixpkgs' nixos/modules/misc/ids.nix

SYSTEM_PROFILE = "/nix/var/nix/profiles/system"
DATABASE = "/nix/var/nix/db"


class Place(NamedTuple):
    """A directory of the skeleton."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


DIRECTORIES = (
    Place("/"),
    Place("/bin"),
    Place("/boot"),
    Place("/dev"),
    Place("/etc"),
    Place("/home"),
    Place("/nix"),
    Place("/nix/store", 0o1775, gid=NIXBLD_GID),
    Place("/nix/var"),
    Place("/nix/var/log"),
    Place("/nix/var/log/nix"),
    Place("/nix/var/log/nix/drvs"),
    Place("/nix/var/nix"),
    Place("/nix/var/nix/daemon-socket"),
    Place(DATABASE),
    Place("/nix/var/nix/gcroots"),
    Place(gcroots.DIRECTORY),
    Place("/nix/var/nix/gcroots/auto"),
    Place("/nix/var/nix/profiles"),
    Place("/nix/var/nix/profiles/per-user"),
    Place("/nix/var/nix/profiles/per-user/root"),
    Place("/nix/var/nix/temproots"),
    Place("/nix/var/nix/userpool"),
    Place("/proc"),
    Place("/root", 0o700),
    Place("/run"),
    Place("/sys"),
    Place("/tmp", 0o1777),
    Place("/usr"),
    Place("/usr/bin"),
    Place("/var"),
    Place("/var/tmp", 0o1777),
)

# Directories that exist only where the boot loader puts files into them.
BOOT_DIRECTORIES = (Place("/boot/grub", 0o700),)

# Path → the file's content: empty, but its presence tells tools that this is NixOS.
FILES = {"/etc/NIXOS": b""}


def links(system: str, shell: str) -> dict[str, str]:
    """Path → target of the skeleton's symlinks, for a toplevel and a shell's store path."""
    return {
        "/bin/sh": shell,
        "/nix/var/nix/gcroots/profiles": "/nix/var/nix/profiles",
        SYSTEM_PROFILE: "system-1-link",
        f"{SYSTEM_PROFILE}-1-link": system,
        "/var/run": "/run",
    }
