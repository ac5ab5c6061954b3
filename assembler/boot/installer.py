"""The program with which a system installs its boot loader."""

from dataclasses import dataclass

SWITCH = "bin/switch-to-configuration"  # in a toplevel: runs the installer

# Boot loaders that need firmware from elsewhere, or no disk at all.
_STARTS_NO_DISK = (
    "generic-extlinux-compatible",
    "raspberrypi",
    "init-script",
    "generations-dir",
)


@dataclass(frozen=True, slots=True)
class Installer:
    """The program that installs the boot loader of a system.

    `loader` is the name of one of `boot.loaders`, or of a boot loader that is not made here; empty
    if the closure does not show which. `program` is the path of the installer, empty where the
    closure has none.
    """

    loader: str = ""
    program: str = ""
    has_switch: bool = True  # whether the system has the program that runs the installer

    @property
    def starts_disk(self) -> bool:
        """Whether a disk boots with what it installs."""
        return self.loader not in _STARTS_NO_DISK
