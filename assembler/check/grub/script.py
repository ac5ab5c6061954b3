"""Parse GRUB's scripts, as far as menus need it.

The language is that of the GRUB manual, "Writing full configuration files directly"; the words are
split as grub-core/script/yylex.l does. Text that cannot be parsed is skipped, not an error:
grub-script-check finds it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MAX_DEPTH = 40
_MAX_TOKENS = 500_000  # a menu of a thousand generations has a tenth of it

# A quote that nothing closes goes on to the end, and no repetition gives back what it took, so the
# time is linear.
_VARIABLE = r"\$(?:\{(?P<long>[^}\n$]{0,100})\}|(?P<short>[A-Za-z_]\w*|[0-9?#*@]))"
_SINGLE, _DOUBLE = r"'(?P<single>[^']*+)(?:'|\Z)", r'"(?P<double>(?:[^"\\]|\\.)*+)(?:"|\\?\Z)'
_TOKEN = re.compile(
    r"(?:[ \t\r]|\\\n)++|(?P<end>[\n;|&])|(?<![^\s;])\#[^\n]*+"
    r"|(?P<word>(?<![^\s;])[{}](?=[\s;]|\Z)"
    rf"|(?:{_SINGLE}|{_DOUBLE}|\\(?:[^\n]|\Z)|\$\{{[^}}\n$]{{0,100}}\}}|[^ \t\r\n;|&'\"\\])++)",
    re.DOTALL,
)
_PIECE = re.compile(
    rf"{_SINGLE}|{_DOUBLE}|\\(?P<escape>.)|{_VARIABLE}|(?P<plain>[^'\"\\$]++|.)", re.DOTALL
)
_IN_DOUBLE = re.compile(rf"\\(?P<escape>[\\\"$\n])|{_VARIABLE}|(?P<plain>[^\\$]++|.)", re.DOTALL)


class ScriptError(ValueError):
    """A script is broken, or larger or nested deeper than makes sense: in a few words."""


@dataclass(frozen=True, slots=True)
class Variable:
    """The value of a variable, within a word."""

    name: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A command and its arguments, as they are written, and the block behind it, if any.

    A loop is one as well, with all words up to `done`.
    """

    words: tuple[str, ...]
    block: "tuple[Statement, ...] | None" = None


@dataclass(frozen=True, slots=True)
class Branches:
    """if, elif and else: pairs of condition and body; that of else has no condition."""

    branches: "tuple[tuple[tuple[Statement, ...], tuple[Statement, ...]], ...]"


Statement = Command | Branches


def parse(text: str) -> tuple[Statement, ...]:
    """The statements of a script; a function is a command with a block. Raises ScriptError."""
    if "\0" in text:
        raise ScriptError("it has a NUL byte, where GRUB stops to read the line")
    return _Parser(text).body(frozenset(), 0)


def pieces(word: str) -> Iterator[str | Variable]:
    """The texts and the variables that a word is made of; quotes are gone."""
    for match in _PIECE.finditer(word):
        if (inside := match["double"]) is None:
            yield _piece(match, quoted=False)
        else:
            yield from (_piece(inner, quoted=True) for inner in _IN_DOUBLE.finditer(inside))


def _piece(match: re.Match[str], *, quoted: bool) -> str | Variable:
    kind = match.lastgroup or ""
    if kind in ("long", "short"):
        return Variable(match[kind], quoted)
    return "" if match[kind] == "\n" and kind == "escape" else match[kind]


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        for match in _TOKEN.finditer(text):
            if match["end"] or match["word"]:
                self._tokens.append(match["word"] or "\n")
            if len(self._tokens) > _MAX_TOKENS:
                raise ScriptError(f"it has more than {_MAX_TOKENS:,} words")
        self._tokens.append("")  # the end
        self._at = 0

    def body(self, stops: frozenset[str], depth: int) -> tuple[Statement, ...]:
        """Statements up to one of the words `stops`, which is left."""
        if depth > _MAX_DEPTH:
            raise ScriptError(f"it is nested more than {_MAX_DEPTH} deep")
        found: list[Statement] = []
        while (word := self._tokens[self._at]) and word not in stops:
            if word in ("\n", "{", "}"):
                self._at += 1
            elif word == "if":
                found.append(self._if(depth))
            elif word in ("for", "while", "until"):
                begin = self._at
                self._behind({"do", "done"}, depth, last="do")
                self.body(frozenset({"done"}), depth + 1)
                self._at += self._tokens[self._at] == "done"
                found.append(Command(tuple(self._tokens[begin : self._at])))
            else:
                found.append(self._command(depth))
        return tuple(found)

    def _if(self, depth: int) -> Branches:
        branches = []
        while self._tokens[self._at] in ("if", "elif"):
            condition = self._behind({"then", "fi"}, depth)
            branches.append((condition, self.body(frozenset({"elif", "else", "fi"}), depth + 1)))
        if self._tokens[self._at] == "else":
            branches.append(((), self._behind({"fi"}, depth)))
        self._at += self._tokens[self._at] == "fi"
        return Branches(tuple(branches))

    def _behind(self, stops: set[str], depth: int, last: str = "then") -> tuple[Statement, ...]:
        """The statements behind a keyword; the keyword `last` is skipped if it follows them."""
        self._at += 1
        found = self.body(frozenset(stops), depth + 1)
        self._at += self._tokens[self._at] == last
        return found

    def _command(self, depth: int) -> Command:
        words: list[str] = []
        while token := self._tokens[self._at]:
            if token == "{":
                return Command(tuple(words), self._behind({"}"}, depth, last="}"))
            # The brace of a function may be on a line of its own.
            of_function = token == "\n" and len(words) == 2 and words[0] == "function"
            if token in ("\n", "}") and not of_function:
                break
            words += [] if of_function else [token]
            self._at += 1
        return Command(tuple(words))
