"""Words of GRUB's shell, and the serial console of a kernel's command line for GRUB.

The language is that of the GRUB manual, section "Shell-like scripting"; where words end: WORD in
GRUB's grub-core/script/yylex.l.
"""

import re
from collections.abc import Iterable

_SERIAL_CONSOLE = re.compile(r"console=ttyS([0-9]+)(?:,([0-9]+))?.*")
_KERNEL_BAUD = "9600"  # Linux Documentation/admin-guide/serial-console.rst

_NAME = r"(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[?#*@])"  # of a variable
_WORD = (
    r"(?:[^{}|&$;<> \t\n'\"\\]|\$?\"(?:\\.|[^\"\\])*\"|'[^']*'|\\."
    rf"|\$(?:{_NAME}|\{{{_NAME}\}}))+"
)
# One word of GRUB's shell; otherwise one word as the kernel splits them.
_PIECE = re.compile(
    rf"(?P<whole>(?!\#|\[\[(?![^ \t])|\]\](?![^ \t])){_WORD})(?![^ \t])"
    r"|(?P<broken>(?:\\.|[^ \t\"]|\"[^\"]*\"|\")+)"
)


def kernel_words(params: Iterable[str]) -> list[str]:
    """Write kernel parameters for GRUB's shell.

    NixOS pastes them as they are, so that users write for GRUB: `\\$` is a dollar. A word that
    would not be one word of a command then, such as `a;b`, is quoted: it means itself. Its double
    quotes are for the kernel, which uses them to keep spaces (next_arg() in Linux lib/cmdline.c).
    They are dropped: GRUB puts quotes around every argument with a space, and escapes those that
    are in it (grub-core/lib/cmdline.c).
    """
    return [
        match["whole"] or quote(_literal(match["broken"]))
        for match in _PIECE.finditer(" ".join(params))
    ]


def escaped_words(params: Iterable[str]) -> list[str]:
    """The words that `kernel_words` quotes, and that GRUB nevertheless changes.

    GRUB puts a backslash before each backslash and quote (grub-core/lib/cmdline.c).
    """
    broken = (match["broken"] for match in _PIECE.finditer(" ".join(params)))
    return [word for word in broken if word and re.search(r"[\\'\"]", _literal(word))]


def _literal(broken: str) -> str:
    """The meaning of a text that is not one word of a command: itself, without paired quotes."""
    return re.sub(r'(\\.)|"([^"]*)"', r"\1\2", broken)


def quote(word: str) -> str:
    """Write a word so that GRUB's shell takes it literally."""
    if re.fullmatch(r"[A-Za-z0-9_./:,=+@%-]+", word):
        return word
    return "'" + word.replace("'", r"'\''") + "'"


def quote_title(title: str) -> str:
    """Write a title so that GRUB's shell takes it literally, in double quotes where these do."""
    return quote(title) if re.search(r'[\\"$]', title) else f'"{title}"'


def setting(text: str) -> str:
    """A setting as NixOS pastes it, but quoted if GRUB would read it as several words."""
    if re.search(r"[\s;|&<>{}()]", text) and not re.search(r"[\"'$\\]", text):
        return quote(text)
    return text


def serial_console(words: Iterable[str]) -> list[str]:
    """Lines that make GRUB use the serial port that the kernel takes for its console.

    The screen stays in use, for text or graphics. `words` are as `kernel_words` writes them.
    """
    plain = (re.sub(r"[\"'\\]", "", word) for word in words)
    matches = [_SERIAL_CONSOLE.fullmatch(word) for word in plain]
    ports = [(match[1], match[2] or _KERNEL_BAUD) for match in matches if match is not None]
    if not ports:
        return []
    unit, speed = ports[-1]  # the kernel's last console is the one for input
    return [
        f"serial --unit={unit} --speed={speed}",
        "terminal_input --append serial",
        "terminal_output --append serial",
    ]
