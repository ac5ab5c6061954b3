"""Write grub.cfg for one system.

The language is that of the GRUB manual, sections "Shell-like scripting" and "Commands".
"""

import re
from collections.abc import Callable, Iterable
from uuid import UUID

from assembler.boot.bootspec import Bootspec

_TIMEOUT = 1  # seconds: time for a key, and no more
_SERIAL_CONSOLE = re.compile(r"console=ttyS([0-9]+)(?:,([0-9]+))?.*")
_KERNEL_BAUD = "9600"  # Linux Documentation/admin-guide/serial-console.rst


def grub_cfg(
    spec: Bootspec, root_uuid: UUID, locate: Callable[[str], str] = lambda path: path
) -> str:
    """The text of /boot/grub/grub.cfg that boots `spec` from the file system `root_uuid`.

    `locate` gives GRUB's path for a path in the root.
    """
    arguments = split_command_line([f"init={spec.init}", *spec.kernel_params])
    entry = [_line("linux", locate(spec.kernel), *arguments)]
    if spec.initrd is not None:
        entry.append(_line("initrd", locate(spec.initrd)))
    lines = [
        "set default=0",
        f"set timeout={_TIMEOUT}",
        *_serial(arguments),
        f"search --no-floppy --fs-uuid --set=root {root_uuid}",
        "menuentry 'NixOS - Default' {",
        *(f"  {line}" for line in entry),
        "}",
    ]
    return "\n".join([*lines, ""])


def split_command_line(params: Iterable[str]) -> list[str]:
    """Split kernel parameters as the kernel would, and drop the quotes around spaces.

    One parameter may hold several, or a quoted value with spaces. The kernel ends a parameter at
    a space outside double quotes (next_arg() in Linux lib/cmdline.c); GRUB puts quotes around
    every argument with a space by itself and escapes those it is given, which the kernel would
    not understand (grub-core/lib/cmdline.c).
    """
    words = re.findall(r'(?:[^\s"]|"[^"]*"?)+', " ".join(params))
    return [word.replace('"', "") for word in words]


def quote(word: str) -> str:
    """Write a word so that GRUB's shell takes it literally."""
    if re.fullmatch(r"[A-Za-z0-9_./:,=+@%-]+", word):
        return word
    return "'" + word.replace("'", r"'\''") + "'"


def _line(command: str, *words: str) -> str:
    return " ".join([command, *(quote(word) for word in words)])


def _serial(arguments: Iterable[str]) -> list[str]:
    """Lines that make GRUB talk on the serial port that the kernel will take for its console."""
    matches = [_SERIAL_CONSOLE.fullmatch(argument) for argument in arguments]
    ports = [(match[1], match[2] or _KERNEL_BAUD) for match in matches if match is not None]
    if not ports:
        return []
    unit, speed = ports[-1]  # the kernel's last console is the one for input
    return [
        f"serial --unit={unit} --speed={speed}",
        "terminal_input serial console",
        "terminal_output serial console",
    ]
