"""Find the boot loader that a system is configured with, by the program that installs it.

Source: nixpkgs' nixos/modules/system/activation/switchable-system.nix hands the program to
`bin/switch-to-configuration` as INSTALL_BOOTLOADER; the Perl script of releases before 24.11 names
it in a here document, or in a call of `system`.
"""

import json
import re

from assembler.boot.bootspec import DOCUMENT, SYSTEMD_BOOT
from assembler.boot.installer import SWITCH, Installer
from assembler.boot.loaders import LOADERS
from assembler.boot.no_loader import NoLoader
from assembler.boot.scripts import follow_scripts, name_without_hash, read_script, store_paths
from assembler.boot.systemd_boot.loader import SystemdBoot
from assembler.store.paths import Store

_VALUES = (
    re.compile(r"""\bINSTALL_BOOTLOADER['"]?(?:=|[ \t]+)['"]?([^'"\s\0]*)"""),
    re.compile(r"<<'EOFBOOTLOADER'[^\n]*\n[ \t]*(\S*)"),
    re.compile(r'\bsystem\("(/nix/store/[^"\s]+)'),
)

# Installers by the name of the file, or of the store path that it is: those of nixpkgs, and of
# projects beside it whose boot loader is not made here.
_NAMES = {
    "limine-install.sh": "limine",
    "limine-install.py": "limine",
    "refind-install.py": "refind",
    "lzbt": "lanzaboote",
    "install-extlinux-conf.sh": "generic-extlinux-compatible",
    "extlinux-conf-builder.sh": "generic-extlinux-compatible",
    "raspberrypi-builder.sh": "raspberrypi",
    "init-script-builder.sh": "init-script",
    "generations-dir-builder.sh": "generations-dir",
    **{name: loader.name for loader in LOADERS.values() for name in loader.installers},
}
_EXTENSIONS = {  # of a bootspec
    SYSTEMD_BOOT: SystemdBoot.name,
    "org.nix-community.lanzaboote": "lanzaboote",
}

_NOTHING = re.compile(r"\s*(#.*|set\s.*|exit(\s+0)?|true|:)?\s*")  # a line that does nothing


def read_installer(store: Store, system: str) -> Installer:
    """Find the installer of a toplevel's boot loader; raises HostError for unreadable files."""
    switch = read_script(store, f"{system}/{SWITCH}", whole=True)
    found = next(filter(None, (pattern.search(switch) for pattern in _VALUES)), None)
    if found is None:
        # A script of another kind names the installer somewhere.
        for path in follow_scripts(store, store_paths(switch)):
            loader = _known(path)
            if loader in LOADERS and LOADERS[loader].is_made_here:
                return Installer(loader, path)
        return Installer(_of_bootspec(store, system), has_switch=bool(switch))
    program = found[1]
    for path in follow_scripts(store, [program]):
        # A script may well use a program like `true`.
        loader = _known(path)
        if loader and (loader != NoLoader.name or path == program):
            return Installer(loader, program)
    script = read_script(store, program)
    if script and all(map(_NOTHING.fullmatch, script.splitlines())):
        return Installer(NoLoader.name, program)
    return Installer(name_without_hash(program) or NoLoader.name, program)


def _known(path: str) -> str:
    """The boot loader that a program of a known name installs, empty for other programs."""
    return _NAMES.get(name_without_hash(path), "")


def _of_bootspec(store: Store, system: str) -> str:
    """The boot loader for which a bootspec has an extension; empty if there is none."""
    try:
        document = json.loads(read_script(store, f"{system}/{DOCUMENT}") or "{}")
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    return next((loader for key, loader in _EXTENSIONS.items() if key in document), "")
