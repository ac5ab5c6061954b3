"""Installers of systemd-boot, as short as can be, in the shapes that nixpkgs' own has had."""

from collections.abc import Mapping

from tests.support.systems import System, add_path, store_path

SCRIPT = store_path(20, "install-systemd-boot.sh")
BUILDER = store_path(21, "systemd-boot")
EXTRA = store_path(22, "copy-extra-files")
TOOL = store_path(23, "memtest.efi")

# Constants at the head; entries named by their contents. `type` is not known to Python 3.11.
BY_CONTENTS = f"""#! /nix/store/python3/bin/python3 -B
from pathlib import Path

EFI_SYS_MOUNT_POINT = Path("@esp@")
BOOT_MOUNT_POINT = Path("@boot@")
LOADER_CONF = EFI_SYS_MOUNT_POINT / "loader/loader.conf"
NIXOS_DIR = Path("/EFI/nixos".strip("/"))
TIMEOUT = "@timeout@"
EDITOR = "@editor@" == "1"
CONSOLE_MODE = "max"
DISTRO_NAME = "My Own OS"
CONFIGURATION_LIMIT = int("@limit@")
REBOOT_FOR_BITLOCKER = bool("@bitlocker@")
COPY_EXTRA_FILES = "{EXTRA}"
STORE_DIR = "/nix/store"
SYSTEMD = "@systemd@"
BOOT_COUNTING_TRIES = "@tries@"
BOOT_COUNTING = "@counting@" == "True"

type Names = list[str]


def write_loader_conf(default_entry_id: str | None) -> None:
    with LOADER_CONF.with_suffix(".tmp").open("x") as f:
        f.write(f"timeout {{TIMEOUT}}\\n")
        if default_entry_id is None:
            f.write("default nixos-*\\n")
        else:
            f.write(f"default {{default_entry_id}}\\n")
        if not EDITOR:
            f.write("editor 0\\n")
        if REBOOT_FOR_BITLOCKER:
            f.write("reboot-for-bitlocker yes\\n")
        f.write(f"console-mode {{CONSOLE_MODE}}\\n")
        f.flush()


def get_generations():
    configurationLimit = CONFIGURATION_LIMIT
"""

# Values where they are used; entries named by their numbers.
BY_NUMBER = f"""#! /nix/store/python3/bin/python3 -B
import os

BOOT_ENTRY = \"\"\"title {{title}}
sort-key {{sort_key}}
version Generation {{generation}} {{description}}
linux {{kernel}}
initrd {{initrd}}
options {{kernel_params}}
\"\"\"


def write_loader_conf(profile, generation, specialisation):
    with open("@esp@/loader/loader.conf.tmp", "w") as f:
        if "@timeout@" != "":
            f.write("timeout @timeout@\\n")
        f.write("default %s\\n" % generation_conf_filename(profile, generation, specialisation))
        if not @editor@:
            f.write("editor 0\\n")
        f.write("console-mode keep\\n")


def write_entry(profile, generation, specialisation):
    title = "Old OS{{profile}}{{specialisation}}".format(profile="", specialisation="")


def get_generations(profile):
    configurationLimit = @limit@


def install():
    subprocess.check_call("{EXTRA}")
"""

DEFAULTS = {
    "esp": "/boot",
    "boot": "/boot",
    "timeout": "5",
    "editor": "1",
    "limit": "0",
    "bitlocker": "",
    "tries": "3",
    "counting": "False",
    "systemd": "/nix/store/systemd",
}


def builder(template: str = BY_CONTENTS, **values: str) -> str:
    """A builder with its values filled in."""
    text = template
    for name, value in {**DEFAULTS, **values}.items():
        text = text.replace(f"@{name}@", value)
    return text


def add_builder(
    system: System,
    text: str,
    *,
    extra: str = "#!/bin/sh\n",
    commands: str = "",
    files: Mapping[str, bytes] = {},
) -> list[str]:
    """Put a builder, and what leads to it, beside a system whose installer is `SCRIPT`.

    Gives the options that add these store paths.
    """
    paths: dict[str, dict[str, bytes]] = {
        SCRIPT: {"": f'#!/bin/sh\nset -euo pipefail\n{BUILDER}/bin/x "$@"\n{commands}\n'.encode()},
        BUILDER: {"bin/x": text.encode()},
        EXTRA: {"": extra.encode()},
        **{path: {"": content} for path, content in files.items()},
    }
    options = []
    for path, content in paths.items():
        options += ["--closure", str(add_path(system, path, content))]
        options += ["--additional-path", path]
    return options
