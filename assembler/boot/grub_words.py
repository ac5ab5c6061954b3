"""Words of GRUB's shell, and what GRUB takes from a kernel's command line.

The language is that of the GRUB manual, section "Shell-like scripting".
"""

import re
from collections.abc import Iterable

_SERIAL_CONSOLE = re.compile(r"console=ttyS([0-9]+)(?:,([0-9]+))?.*")
_KERNEL_BAUD = "9600"  # Linux Documentation/admin-guide/serial-console.rst


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


def quote_title(title: str) -> str:
    """Write a title so that GRUB's shell takes it literally, in double quotes where these do."""
    return quote(title) if re.search(r'[\\"$]', title) else f'"{title}"'


def setting(text: str) -> str:
    """A setting that NixOS pastes as it is, but quoted where that would make it several words."""
    if re.search(r"[\s;|&<>{}()]", text) and not re.search(r"[\"'$\\]", text):
        return quote(text)
    return text


def serial_console(arguments: Iterable[str]) -> list[str]:
    """Lines that make GRUB talk on the serial port that the kernel will take for its console.

    They come on top of the screen, be it text or graphics.
    """
    matches = [_SERIAL_CONSOLE.fullmatch(argument) for argument in arguments]
    ports = [(match[1], match[2] or _KERNEL_BAUD) for match in matches if match is not None]
    if not ports:
        return []
    unit, speed = ports[-1]  # the kernel's last console is the one for input
    return [
        f"serial --unit={unit} --speed={speed}",
        "terminal_input --append serial",
        "terminal_output --append serial",
    ]
