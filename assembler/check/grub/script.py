"""Parse GRUB's scripts. grub-script-check finds their errors, so only right ones are read here.

The language is that of the GRUB manual, "Writing full configuration files directly"; the words are
split as grub-core/script/yylex.l does.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from assembler.host import process

_STATUSES = (*range(-64, 0), 0, 1)
_LIMIT = 30  # seconds; a menu of a thousand generations takes a tenth of one
_ERROR = re.compile(r"Syntax error at line (\d+)")

# No repetition gives back what it took, so the time is linear.
_VARIABLE = r"\$(?:\{(?P<long>[^}\n$]{0,100})\}|(?P<short>[A-Za-z_]\w*|[0-9]+|[?#*@]))"
_SINGLE, _DOUBLE = r"'(?P<single>[^']*+)'", r'"(?P<double>(?:[^"\\]|\\.)*+)"'
_TOKEN = re.compile(
    r"(?:[ \t\r]|\\\n)++|\#[^\n]*+|(?P<end>[\n;])"
    rf"|(?P<word>[{{}}]|(?:{_SINGLE}|{_DOUBLE}|\\[^\n]|\$\{{[^}}\n$]{{0,100}}\}}"
    r"|[^ \t\r\n;{}'\"\\])++)",
    re.DOTALL,
)
_PIECE = re.compile(
    rf"{_SINGLE}|{_DOUBLE}|\\(?P<escape>.)|{_VARIABLE}|(?P<plain>[^'\"\\$]++|.)", re.DOTALL
)
_IN_DOUBLE = re.compile(rf"\\\n|\\(?P<escape>[\\\"$])|{_VARIABLE}|(?P<plain>[^\\$]++|.)", re.DOTALL)


class ScriptError(ValueError):
    """A script is broken, or larger or nested deeper than makes sense: in a few words."""


class Command(NamedTuple):
    """A command: its words as they are written, and the blocks of commands in it.

    Those of `if` are conditions and bodies in turn, at last the body of `else`; a loop has none.
    """

    words: tuple[str, ...]
    blocks: "tuple[Block, ...]" = ()


Block = tuple[Command, ...]


def parse(text: str) -> Block:
    """The commands of a script.

    Raises ScriptError for one that GRUB's own parser refuses: GRUB skips what it does not
    understand, with the entries in it. Raises HostError where that parser is missing.
    """
    if "\0" in text:
        raise ScriptError("it has a NUL byte, where GRUB stops to read the line")
    what, data = "checking the syntax of a GRUB menu", text.encode(errors="replace")
    done = process.run(["grub-script-check"], what=what, input=data, ok=_STATUSES, limit=_LIMIT)
    printed = done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")
    if done.returncode and "contains no commands" not in printed:
        line = _ERROR.search(printed)
        fault = f"syntax error in line {line[1]}" if line else "GRUB cannot read it as a script"
        raise ScriptError(fault)
    tokens = ("\n" if one["end"] else one["word"] or "" for one in _TOKEN.finditer(text))
    return _block(filter(None, tokens))[0]


def _block(tokens: Iterator[str], *stops: str) -> tuple[Block, str]:
    """The commands up to a word of `stops`, and that word; empty at the end of the script."""
    found: list[Command] = []
    words: list[str] = []
    for word in tokens:
        # The brace of a function may be on a line of its own.
        if word in ("\n", "}") and words and (words[0] != "function" or len(words) != 2):
            found.append(Command(tuple(words)))
            words = []
        if word in stops and not words:
            return tuple(found), word
        if word == "{":
            found.append(Command(tuple(words), (_block(tokens, "}")[0],)))
            words = []
        elif word == "if" and not words:
            found.append(Command(("if",), tuple(_branches(tokens))))
        elif word in ("for", "while", "until") and not words:
            _block(tokens, "do")
            _block(tokens, "done")
            found.append(Command((word,)))
        elif word not in ("\n", "}"):
            words.append(word)
    return (*found, *([Command(tuple(words))] if words else [])), ""


def _branches(tokens: Iterator[str]) -> Iterator[Block]:
    """The conditions and bodies of an `if`."""
    end = "elif"
    while end == "elif":
        yield _block(tokens, "then")[0]
        body, end = _block(tokens, "elif", "else", "fi")
        yield body
    if end == "else":
        yield _block(tokens, "fi")[0]


def expand(word: str, value: Callable[[str], str]) -> str:
    """A word without its quotes, and with values for the names of its variables."""

    def piece(match: re.Match[str]) -> str:
        match match.lastgroup:
            case None:
                return ""
            case "long" | "short" as group:
                return value(match[group])
            case "double":
                return _IN_DOUBLE.sub(piece, match["double"])
            case group:
                return match[group]

    return _PIECE.sub(piece, word)
