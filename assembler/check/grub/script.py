"""Parse GRUB's scripts, as far as menus need it.

The language is that of the GRUB manual, "Writing full configuration files directly"; the words are
split as grub-core/script/yylex.l does. What is not understood is passed over, never an error, but
for scripts that are nested, or go on, without end.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, groupby

_MAX_DEPTH = 40
_MAX_PIECES = 500_000  # a menu of a thousand generations has a tenth of it

# In the order they are tried; a word is one or more of the last six. A quote that nothing closes
# goes on to the end, and no repetition gives back what it took, so the time is linear.
_VARIABLE = r"\$(?:\{(?P<long>[^}\n$]{0,100})\}|(?P<short>[A-Za-z_]\w*|[0-9?#*@]))"
_TOKEN = re.compile(
    r"(?P<space>(?:[ \t\r]|\\\n)++)|(?P<end>[\n;|&])|(?P<comment>(?<![^\s;])\#[^\n]*+)"
    r"|(?P<brace>(?<![^\s;])[{}](?=[\s;]|\Z))"
    r"|'(?P<single>[^']*+)(?:'|\Z)|\"(?P<double>(?:[^\"\\]|\\.)*+)(?:\"|\\?\Z)"
    rf"|\\(?P<escape>.)|{_VARIABLE}"
    r"|(?P<plain>[^\s;|&'\"\\$]++)|(?P<odd>.)",
    re.DOTALL,
)
_IN_DOUBLE = re.compile(
    rf"\\(?P<escape>[\\\"$\n])|{_VARIABLE}|(?P<plain>[^\\$]++|.)",
    re.DOTALL,
)


class ScriptError(ValueError):
    """A script is broken, or larger or nested deeper than makes sense: in a few words."""


@dataclass(slots=True)
class Budget:
    """What may still be done for a configuration, whatever it asks for.

    `work` is about the characters that are read or written, `depth` how far blocks and files may
    still be nested in one another.
    """

    work: int = 32 << 20
    depth: int = 100

    def spend(self, work: int) -> None:
        """Take work from what is left. Raises ScriptError when there is none."""
        self.work -= work
        if self.work < 0:
            raise ScriptError("it asks for more work than any menu needs")

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """One level of nesting. Raises ScriptError when there are too many."""
        self.depth -= 1
        if self.depth < 0:
            raise ScriptError("it is nested too deep")
        try:
            yield
        finally:
            self.depth += 1


@dataclass(frozen=True, slots=True)
class Variable:
    """The value of a variable, within a word."""

    name: str
    quoted: bool


Word = tuple[str | Variable, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A command and its arguments; with the block behind it, if any, in braces."""

    words: tuple[Word, ...]
    block: "tuple[Statement, ...] | None" = None


@dataclass(frozen=True, slots=True)
class Branches:
    """if, elif and else: pairs of condition and body; that of else has no condition."""

    branches: "tuple[tuple[tuple[Statement, ...], tuple[Statement, ...]], ...]"


@dataclass(frozen=True, slots=True)
class Loop:
    """for, while and until. A `for` has the variable and the words of its list as `head`."""

    kind: str
    head: "tuple[Statement, ...]"
    body: "tuple[Statement, ...]"


Statement = Command | Branches | Loop


def parse(text: str) -> tuple[Statement, ...]:
    """The statements of a script; a function is a command with a block. Raises ScriptError."""
    if "\0" in text:
        raise ScriptError("it has a NUL byte, where GRUB stops to read the line")
    return _Parser(text).body(frozenset(), 0)


def literal(word: Word) -> str | None:
    """A word that holds no variable, and may be a keyword."""
    match word:
        case (str(text),):
            return text
    return None


def commands_in(statements: Iterable[Statement]) -> Iterator[Command]:
    """All commands in statements, but for those in the blocks of commands."""
    for statement in statements:
        match statement:
            case Command():
                yield statement
            case Branches(branches):
                for condition, body in branches:
                    yield from commands_in((*condition, *body))
            case Loop(_, head, body):
                yield from commands_in((*head, *body))


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_split(text))
        self._at = 0

    def body(self, stops: frozenset[str], depth: int) -> tuple[Statement, ...]:
        """Statements up to one of the words `stops`, which is left."""
        if depth > _MAX_DEPTH:
            raise ScriptError(f"it is nested more than {_MAX_DEPTH} deep")
        found: list[Statement] = []
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            word = token if isinstance(token, str) else literal(token)
            if word in stops:
                break
            if isinstance(token, str):  # an end, or a brace that nothing opened
                self._at += 1
            elif word == "if":
                found.append(self._if(depth))
            elif word in ("for", "while", "until"):
                self._at += 1
                head = self.body(frozenset({"do", "done"}), depth + 1)
                self._at += self._next() == "do"
                found.append(Loop(word, head, self.body(frozenset({"done"}), depth + 1)))
                self._at += 1
            else:
                found.append(self._command(depth))
        return tuple(found)

    def _if(self, depth: int) -> Branches:
        branches = []
        word: str | None = "if"
        while word in ("if", "elif"):
            self._at += 1
            condition = self.body(frozenset({"then", "fi"}), depth + 1)
            word = self._take() if self._next() == "then" else None
            inner = self.body(frozenset({"elif", "else", "fi"}), depth + 1)
            branches.append((condition, inner))
            word = self._next()
        if word == "else":
            self._at += 1
            branches.append(((), self.body(frozenset({"fi"}), depth + 1)))
        self._at += 1
        return Branches(tuple(branches))

    def _next(self) -> str | None:
        if self._at >= len(self._tokens):
            return None
        token = self._tokens[self._at]
        return token if isinstance(token, str) else literal(token)

    def _take(self) -> str | None:
        word = self._next()
        self._at += 1
        return word

    def _command(self, depth: int) -> Command:
        words: list[Word] = []
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token == "{":
                self._at += 1
                block = self.body(frozenset({"}"}), depth + 1)
                self._at += 1
                return Command(tuple(words), block)
            if token == "\n" and len(words) == 2 and literal(words[0]) == "function":
                self._at += 1  # the brace of a function may be on a line of its own
                continue
            if isinstance(token, str):
                break
            words.append(token)
            self._at += 1
        return Command(tuple(words))


def _split(text: str) -> Iterator[str | Word]:
    """The tokens: ends of commands and braces as strings, words as tuples. Raises ScriptError."""
    word: list[str | Variable] = []
    begun = False
    for kind, match in _pieces(text):
        if kind in ("space", "end", "comment", "brace"):
            if begun:
                yield _joined(word)
                word, begun = [], False
            if kind == "brace":
                yield match[0]
            elif kind == "end":
                yield "\n"
            continue
        begun = True
        if kind != "double":  # of which what is inside comes next
            word.append(_piece(match, quoted=kind == "quoted"))
    if begun:
        yield _joined(word)


def _pieces(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """What words are made of; behind double quotes, what is inside them."""
    count = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        yield kind, match
        inside = _IN_DOUBLE.finditer(match["double"]) if kind == "double" else ()
        for inner in chain([None], inside):
            count += 1
            if count > _MAX_PIECES:
                raise ScriptError(f"it has more than {_MAX_PIECES:,} words")
            if inner is not None:
                yield "quoted", inner


def _piece(match: re.Match[str], *, quoted: bool) -> str | Variable:
    kind = match.lastgroup
    if kind in ("long", "short"):
        return Variable(match[kind], quoted)
    if kind == "escape":
        return "" if match["escape"] == "\n" else match["escape"]
    return match[kind or 0]


def _joined(pieces: list[str | Variable]) -> Word:
    """A word with texts side by side made one; never empty."""
    joined: list[str | Variable] = []
    for is_text, group in groupby(pieces, lambda piece: isinstance(piece, str)):
        found = list(group)
        joined += ["".join(map(str, found))] if is_text else found
    return tuple(joined) or ("",)
