"""Which programs this host has, and which packages have the missing ones."""

import os
from pathlib import Path

# Directories with mke2fs and other programs for administrators, which many users' PATH lacks.
_ADMIN_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")

# The Debian package of a program, and its name in nixpkgs.
PACKAGES = {
    "chmod": ("coreutils", "coreutils"),
    "e2fsck": ("e2fsprogs", "e2fsprogs"),
    "fdisk": ("fdisk", "util-linux"),
    "find": ("findutils", "findutils"),
    "fsck.fat": ("dosfstools", "dosfstools"),
    "grub-fstest": ("grub-common", "grub2"),
    "grub-mkimage": ("grub-common", "grub2"),
    "grub-script-check": ("grub-common", "grub2"),
    "gzip": ("gzip", "gzip"),
    "mcopy": ("mtools", "mtools"),
    "mke2fs": ("e2fsprogs", "e2fsprogs"),
    "mkfs.fat": ("dosfstools", "dosfstools"),
    "mmd": ("mtools", "mtools"),
    "nix-hash": ("nix-bin", "nix"),
    "nix-store": ("nix-bin", "nix"),
    "pigz": ("pigz", "pigz"),
    "qemu-img": ("qemu-utils", "qemu-utils"),
    "rm": ("coreutils", "coreutils"),
    "sfdisk": ("fdisk", "util-linux"),
    "tar": ("tar", "gnutar"),
    "xz": ("xz-utils", "xz"),
    "zstd": ("zstd", "zstd"),
}


def search_path() -> str:
    """Return PATH, with the administrators' directories at its end."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *_ADMIN_DIRECTORIES])


def which(program: str) -> Path | None:
    """Return where `program` is on the search path, or None."""
    for directory in search_path().split(os.pathsep):
        candidate = os.path.join(directory or ".", program)
        # Not Path.is_file, which raises for a directory on PATH that we may not enter.
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return Path(candidate).absolute()
    return None


def require(*programs: str) -> list[str]:
    """Return one line for each program that is absent, with the packages that have it."""
    lines = []
    for program in programs:
        if which(program) is None:
            debian, nixpkgs = PACKAGES.get(program, (program, program))
            lines.append(
                f"the program {program} is not on PATH: it is in the package {debian} "
                f"(Debian) or {nixpkgs} (nixpkgs)"
            )
    return lines
