"""The boot loaders that a user can choose from: one line for each."""

from collections.abc import Mapping

from assembler.boot.grub.loader import GrubLoader
from assembler.boot.no_loader import NoLoader
from assembler.boot.protocol import BootLoader
from assembler.boot.system import SystemInstaller
from assembler.boot.systemd_boot.loader import SystemdBoot

_ALL: tuple[type[BootLoader], ...] = (
    GrubLoader,
    SystemdBoot,
    SystemInstaller,
    NoLoader,
)

LOADERS: Mapping[str, type[BootLoader]] = {loader.name: loader for loader in _ALL}
