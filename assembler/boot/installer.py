"""Which boot loader a system is configured with, told by the program that would install it.

Source: nixpkgs' nixos/modules/system/activation/switchable-system.nix hands the program to
`bin/switch-to-configuration` as INSTALL_BOOTLOADER; the Perl script of releases before 24.11 names
it in a here document, or in a call of `system`.
"""

import json
import logging
import re
from dataclasses import dataclass

from assembler.boot.bootspec import DOCUMENT, SYSTEMD_BOOT
from assembler.boot.scripts import follow, plain_name, read_script, store_paths
from assembler.store.paths import Store

log = logging.getLogger(__name__)

GRUB = "grub"
SYSTEMD = "systemd-boot"
NONE = "none"  # the system is configured without a boot loader
MADE = (GRUB, SYSTEMD)

_SWITCH = "bin/switch-to-configuration"
_VALUES = (
    re.compile(r"""\bINSTALL_BOOTLOADER['"]?(?:=|[ \t]+)['"]?([^'"\s\0]*)"""),
    re.compile(r"<<'EOFBOOTLOADER'[^\n]*\n[ \t]*(\S*)"),
    re.compile(r'\bsystem\("(/nix/store/[^"\s]+)'),
)

# What nixpkgs, and the projects beside it, call the programs that install a boot loader: the name
# of the file, or of the store path that it is.
_NAMES = {
    "install-grub.sh": GRUB,
    "install-grub.pl": GRUB,
    "install-systemd-boot.sh": SYSTEMD,
    "systemd-boot-builder.py": SYSTEMD,
    "gummiboot-builder.py": SYSTEMD,
    "limine-install.sh": "limine",
    "limine-install.py": "limine",
    "refind-install.py": "refind",
    "lzbt": "lanzaboote",
    "install-extlinux-conf.sh": "generic-extlinux-compatible",
    "extlinux-conf-builder.sh": "generic-extlinux-compatible",
    "raspberrypi-builder.sh": "raspberrypi",
    "init-script-builder.sh": "init-script",
    "generations-dir-builder.sh": "generations-dir",
    "no-bootloader": NONE,
    "true": NONE,
}
# These need firmware on the disk that their installer does not put there, or no disk at all.
_NOT_BY_INSTALLER = (
    "generic-extlinux-compatible",
    "raspberrypi",
    "init-script",
    "generations-dir",
)
_LANZABOOTE = "org.nix-community.lanzaboote"  # its own part of a bootspec

_NOTHING = re.compile(r"\s*(#.*|set\s.*|exit(\s+0)?|true|:)?\s*")  # a line that does nothing


@dataclass(frozen=True, slots=True)
class Installer:
    """What installs the boot loader of a system.

    `loader` is "grub", "systemd-boot", "none" (the system has none), "" (the closure does not
    tell), or the name of a boot loader that is not made here. `program` is the path of the
    installer, empty where the closure has none.
    """

    loader: str = ""
    program: str = ""
    has_switch: bool = True  # whether there is a program that runs it

    def problems(self, asked: str | None) -> list[str]:
        """Why the boot loader cannot be had that the user `asked` for; None: the system's own."""
        if asked == "system":
            return self._system_problems()
        if asked is not None or self.loader in (*MADE, NONE, ""):
            return []
        remedy = "--boot-loader grub"
        if self.loader in _NOT_BY_INSTALLER:
            remedy += ", or none if something else starts the disk"
        elif self.program:
            own = f"--boot-loader system, which runs the system's own installer ({self.program})"
            remedy = f"{own}, or grub"
        return [
            f"the system is configured with the boot loader {self.loader}, which is not made here: "
            f"take {remedy}"
        ]

    def _system_problems(self) -> list[str]:
        """Why the system's own installer would leave a disk that does not boot."""
        take = "take --boot-loader grub, or none if something else starts the disk"
        if not self.has_switch:
            return [f"--boot-loader system: the system has no {_SWITCH} to run: {take}"]
        if self.loader == NONE:
            return [f"--boot-loader system: the system is configured without a boot loader: {take}"]
        if self.loader in _NOT_BY_INSTALLER:
            return [
                f"--boot-loader system: what {self.loader} installs does not start a disk: {take}"
            ]
        return []

    def warn(self, asked: str | None, taken: str) -> None:
        """Tell where the boot loader `taken` is another than the system is configured with.

        `asked` is the one that the user named, None where the closure decided.
        """
        if taken == NONE and asked is None and self.loader in MADE:
            remedy = "; --boot-loader grub writes its menu" if self.loader == GRUB else ""
            log.warning(
                "a bare file system gets no boot loader, though the system is configured with %s: "
                "something else has to start it%s",
                self.loader,
                remedy,
            )
        if taken not in MADE or self.loader in ("", taken):
            return
        if self.loader != NONE and asked is not None:
            log.warning(
                "--boot-loader %s is taken, but the system is configured with %s, which its first "
                "rebuild installs",
                taken,
                self.loader,
            )
        elif self.loader == NONE and asked is None:
            log.warning(
                "the system is configured without a boot loader: it gets GRUB, whose menu no "
                "rebuild will change; --boot-loader none leaves GRUB out"
            )


def read_installer(store: Store, system: str) -> Installer:
    """What installs the boot loader of a toplevel; raises HostError for what cannot be read."""
    switch = read_script(store, f"{system}/{_SWITCH}", whole=True)
    found = next(filter(None, (pattern.search(switch) for pattern in _VALUES)), None)
    if found is None:
        # A script of another kind names the installer somewhere.
        for path in follow(store, store_paths(switch)):
            if (loader := _known(path)) in MADE:
                return Installer(loader, path)
        return Installer(_of_bootspec(store, system), has_switch=bool(switch))
    program = found[1]
    for path in follow(store, [program]):
        # A script may well use a program like `true`.
        if (loader := _known(path)) and (loader != NONE or path == program):
            return Installer(loader, program)
    script = read_script(store, program)
    if script and all(map(_NOTHING.fullmatch, script.splitlines())):
        return Installer(NONE, program)
    return Installer(plain_name(program) or NONE, program)


def _known(path: str) -> str | None:
    """The boot loader that a program of a known name installs."""
    return _NAMES.get(plain_name(path))


def _of_bootspec(store: Store, system: str) -> str:
    """What the parts of a bootspec that boot loaders have for themselves tell."""
    try:
        document = json.loads(read_script(store, f"{system}/{DOCUMENT}") or "{}")
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    return SYSTEMD if SYSTEMD_BOOT in document else "lanzaboote" if _LANZABOOTE in document else ""
