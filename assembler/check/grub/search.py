"""GRUB's commands `search` and `test`, as far as menus use them.

Sources: GRUB manual, "search" and "test"; grub-core/commands/search_wrap.c for the options.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assembler.check.grub.menu import plain_path
from assembler.check.grub.reader import GrubReader

SEARCHES = {"search.fs_uuid": "--fs-uuid", "search.fs_label": "--label", "search.file": "--file"}
_KINDS = {
    "-u": "--fs-uuid", "--fs-uuid": "--fs-uuid",
    "-l": "--label", "--label": "--label", "--fs-label": "--label",
    "-f": "--file", "--file": "--file",
}  # fmt: skip
_WORDS = {"--fs-uuid": "the UUID", "--label": "the label", "--file": "the file"}


@dataclass(frozen=True, slots=True)
class Search:
    """What a search looks for, and the variable that will hold the device."""

    kind: str  # --fs-uuid, --label or --file
    value: str
    variable: str

    @property
    def failure(self) -> str:
        """What is wrong when nothing is found."""
        return f"no file system has {_WORDS[self.kind]} {self.value}"

    def find(self, reader: GrubReader) -> int | None:
        """The first partition with it, None where there is none."""
        for one in reader.file_systems:
            if (
                (self.kind == "--fs-uuid" and one.uuid.lower() == self.value.lower())
                or (self.kind == "--label" and one.label == self.value)
                or (self.kind == "--file" and reader.exists(one.number, plain_path(self.value)))
            ):
                return one.number
        return None


def read_search(name: str, arguments: Sequence[str]) -> Search | None:
    """Understand `search` or one of `SEARCHES`; None when it looks for nothing."""
    variable, kind, values = "root", SEARCHES.get(name, "--file"), []
    words = iter(arguments)
    for word in words:
        if word == "--hint":
            next(words, None)
        elif word.startswith(("--set=", "-s=")):
            variable = word.partition("=")[2]
        elif word in _KINDS and name == "search":
            kind = _KINDS[word]
        elif not word.startswith("-"):
            values.append(word)
    if not values:
        return None
    if name in SEARCHES and len(values) > 1:
        variable = values[1]
    return Search(kind, values[0], variable)


def holds(words: Sequence[str], exists: Callable[[str], bool]) -> bool:
    """What `test` or `[` says; `exists` tells whether there is a file."""
    negations = next((at for at, word in enumerate(words) if word != "!"), len(words))
    result = False
    match words[negations:]:
        case ["-e" | "-f" | "-s", path]:
            result = exists(path)
        case ["-z", text]:
            result = not text
        case ["-n", text] | [text]:
            result = bool(text)
        case [left, "=" | "==", right]:
            result = left == right
        case [left, "!=", right]:
            result = left != right
    return result != bool(negations % 2)
