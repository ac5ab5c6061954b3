"""The settings of boot.loader.systemd-boot that a closure carries: constants of its installer.

Source: nixpkgs' nixos/modules/system/boot/loader/systemd-boot/systemd-boot-builder.py, into which
systemd-boot.nix substitutes them. Since 2024 they are constants at its head; before, they stood
where they were used.
"""

import ast
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assembler.boot.boot_file import BootFile
from assembler.boot.scripts import follow_scripts, name_without_hash, read_script
from assembler.boot.systemd_boot import constants
from assembler.boot.systemd_boot.extra_files import copied_files, warn_of_commands
from assembler.store.paths import Store

log = logging.getLogger(__name__)

_TITLE = re.compile(r"(?:title )?(.*)\{profile\}\{specialisation\}(?:\n.*)?", re.DOTALL)
_LOADER_CONF = re.compile(r"(/.*)/loader/loader\.conf(?:\.tmp)?")
_OLD_DIRECTORY = "efi/nixos"
_BY_NUMBER = (
    "title {title}\nsort-key {sort_key}\nversion Generation {generation} {description}\n"
    "linux {kernel}\ninitrd {initrd}\noptions {kernel_params}\n"
)


@dataclass(frozen=True, slots=True)
class SystemdBootSettings:
    """The settings of boot.loader.systemd-boot. The defaults are for a system without them.

    `builder` is the file that they come from, empty without one.
    """

    builder: str = ""
    esp: str = ""  # where the EFI system partition is mounted; empty: unknown
    boot: str = ""  # where the partition with entries and kernels is mounted
    directory: str = "EFI/nixos"  # of the copies of kernels, relative
    distro_name: str = "NixOS"
    timeout: Sequence[str] = ("timeout 1",)  # lines of loader.conf before the default entry
    rest: Sequence[str] = ("console-mode keep",)  # its lines after that
    configuration_limit: int = 0  # generations with an entry; 0: all
    tries: int | None = None  # of a new entry with boot counting, None without boot counting
    # An entry as Python's str.format takes it, empty where entries are named by their contents.
    # Older installers remove only entries that are named by their numbers; newer ones all.
    template: str = _BY_NUMBER
    names_of_store_paths: bool = True  # copies are named after these, not after a directory
    extra_files: Sequence[BootFile] = ()
    systemd: str = ""  # store path that systemd-boot is installed from; empty: unknown

    @property
    def has_xbootldr(self) -> bool:
        """Whether kernels are in another partition than the boot loader."""
        return self.boot != self.esp


def read_systemd_boot_settings(store: Store, program: str) -> SystemdBootSettings:
    """The settings of the installer `program`, which is a path in the store.

    Warns if the closure does not have them, and of what only the installer can do. Raises
    RequestError for files that it copies and the closure lacks.
    """
    settings, text = find_settings(store, program)
    if settings is not None:
        warn_of_commands(store, "systemd-boot", program, name_without_hash(settings.builder))
        return replace(settings, extra_files=copied_files(store, text, settings.boot))
    log.warning(
        "systemd-boot's settings are not in the closure, where %s should lead to them: until the "
        "first rebuild the menu waits for a second and lists all generations",
        program or "bin/switch-to-configuration",
    )
    return SystemdBootSettings()


def find_settings(store: Store, program: str) -> tuple[SystemdBootSettings | None, str]:
    """The settings of an installer but for the files that it copies, and the builder's text.

    None where the closure has no builder.
    """
    for path in follow_scripts(store, [program]):
        text = read_script(store, path)
        if text.startswith("#!") and "python" in text.partition("\n")[0]:
            settings = parse_settings(path, text)
            if settings is not None:
                return settings, text
    return None, ""


def parse_settings(path: str, text: str) -> SystemdBootSettings | None:
    """The settings in the text of a builder, but for the files that it copies; None in another."""
    module = constants.parse_python(text)
    writer = constants.functions(module).get("write_loader_conf")
    if writer is None:
        return None
    names = constants.assigned(module.body, {})
    limit = _limit(module, names)
    texts = constants.strings(module)
    places = [found[1] for found in map(_LOADER_CONF.fullmatch, texts) if found]
    titles = [found[1] for found in map(_TITLE.fullmatch, texts) if found]
    lines = [line.rstrip("\n") for line in constants.written(writer.body, names)]
    esp = str(names.get("EFI_SYS_MOUNT_POINT", next(iter(places), "")))
    template = str(names.get("BOOT_ENTRY", ""))
    own = SystemdBootSettings()
    usual = _OLD_DIRECTORY if template else own.directory
    return SystemdBootSettings(
        builder=path,
        esp=esp,
        boot=str(names.get("BOOT_MOUNT_POINT", esp)),
        directory=str(names.get("NIXOS_DIR", usual)).strip("/"),
        distro_name=str(names.get("DISTRO_NAME", next(iter(titles), own.distro_name))).strip(),
        timeout=[line for line in lines if line.startswith("timeout ")],
        rest=[line for line in lines if not line.startswith("timeout ")],
        configuration_limit=limit,
        tries=_number(names, "BOOT_COUNTING_TRIES") if names.get("BOOT_COUNTING") else None,
        template=template,
        names_of_store_paths="STORE_DIR" in names,
        systemd=str(names.get("SYSTEMD", "")),
    )


def _limit(module: ast.Module, names: constants.Names) -> int:
    """How many generations have an entry; it is a local variable, with a constant in it."""
    limit = constants.assigned(ast.walk(module), names).get("configurationLimit", 0)
    return limit if isinstance(limit, int) and limit > 0 else 0


def _number(names: constants.Names, name: str) -> int | None:
    """A constant that is a number, None where it is none."""
    try:
        return int(names[name])
    except (KeyError, ValueError):
        return None
