"""Scripts that grub-script-check accepts are parsed, and no other text breaks the parser.

Without these tests, a menu that GRUB accepts can be refused, or end check-image in a traceback.
"""

import subprocess
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.check.grub.script import (
    Branches,
    Command,
    ScriptError,
    Statement,
    Variable,
    parse,
    pieces,
)


def accepted(text: str) -> bool:
    done = subprocess.run(["grub-script-check"], input=text.encode(), capture_output=True)
    return done.returncode == 0


def words(text: str) -> list[str]:
    """The words of a script of one command without variables."""
    assert accepted(text)
    [command] = parse(text)
    assert isinstance(command, Command)
    return ["".join(map(str, pieces(word))) for word in command.words]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo a b\n", ["echo", "a", "b"]),
        ("echo 'a b'\"c d\"e\n", ["echo", "a bc de"]),
        ("echo a\\ b \\'\n", ["echo", "a b", "'"]),
        ('echo "a\\"b\\\\c\\d"\n', ["echo", 'a"b\\c\\d']),
        ("echo '' \"\"\n", ["echo", "", ""]),
        ("echo a \\\n  b # c\n", ["echo", "a", "b"]),
        ("echo a#b\n", ["echo", "a#b"]),
        ("echo (hd0,gpt1)/x=1,2\n", ["echo", "(hd0,gpt1)/x=1,2"]),
        ("# only\n\necho a;\n", ["echo", "a"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_variables() -> None:
    [command] = parse("echo $a \"${b}c\" '$d' \\$e\n")
    assert isinstance(command, Command)
    assert [[*pieces(word)] for word in command.words] == [
        ["echo"],
        [Variable("a", quoted=False)],
        [Variable("b", quoted=True), "c"],
        ["$d"],
        ["$", "e"],
    ]


def echo(word: str) -> Statement:
    return Command(("echo", word))


def test_branches() -> None:
    text = "if a; then echo 1; elif b\nthen\necho 2\nelse echo 3; fi\necho 4\n"
    assert accepted(text)
    assert parse(text) == (
        Branches(
            (
                ((Command(("a",)),), (echo("1"),)),
                ((Command(("b",)),), (echo("2"),)),
                ((), (echo("3"),)),
            )
        ),
        echo("4"),
    )


def test_entries() -> None:
    text = "submenu a {\n  menuentry 'b c' --class x {\n    echo 1\n  }\n}\necho 2\n"
    assert accepted(text)
    inner = Command(("menuentry", "'b c'", "--class", "x"), (echo("1"),))
    assert parse(text) == (Command(("submenu", "a"), (inner,)), echo("2"))


def test_loops_and_functions() -> None:
    text = (
        "function f {\n  echo 0\n}\nfunction g\n{ echo 1; }\n"
        "for x in 1 2; do echo 2; done\nuntil a\ndo\necho 3\ndone\necho 4\n"
    )
    assert accepted(text)
    assert parse(text) == (
        Command(("function", "f"), (echo("0"),)),
        Command(("function", "g"), (echo("1"),)),
        Command(("for", "x", "in", "1", "2", "\n", "do", "echo", "2", "\n", "done")),
        Command(("until", "a", "\n", "do", "\n", "echo", "3", "\n", "done")),
        echo("4"),
    )


def test_one_that_is_nested_without_end() -> None:
    with pytest.raises(ScriptError):
        parse("submenu x {\n" * 10_000)


@pytest.mark.parametrize(
    "text",
    ['"' + "\\" * 3_000_000, "$" * 3_000_000, "${" * 1_500_000, "'\"\\" * 1_000_000,
     '"$a' * 1_000_000, "a\\" * 1_500_000, "a\n" * 1_500_000, '"' + "a\\b" * 1_000_000,
     " {" * 1_500_000],
)  # fmt: skip
def test_time_is_linear(text: str) -> None:
    began = time.process_time()
    with suppress(ScriptError):
        for command in parse(text):
            assert isinstance(command, Command)
            assert sum(1 for word in command.words for _ in pieces(word)) > 0
    assert time.process_time() - began < 5


@pytest.mark.parametrize("text", ["x" * 3_000_000, "'" + "x" * 3_000_000, "#" * 3_000_000])
def test_length_alone_is_no_fault(text: str) -> None:
    assert len(parse(f"echo\n{text}")) <= 2


def test_quotes_that_nothing_closes() -> None:
    for text in ("echo 'a b", 'echo "a b', 'echo "a b\\'):
        assert not accepted(text)
        [command] = parse(text)
        assert isinstance(command, Command)
        assert ["".join(map(str, pieces(word))) for word in command.words] == ["echo", "a b"]


PIECES = st.sampled_from(
    [
        *(
            "if",
            "then",
            "elif",
            "else",
            "fi",
            "for",
            "do",
            "done",
            "function",
            "while",
            "menuentry",
        ),
        *("{", "}", ";", "\n", "'", '"', "\\", "$", "${", "$x", "[", "]", "a", "#", "linux", "|"),
    ]
)


@given(text=st.lists(PIECES).map(" ".join) | st.lists(PIECES).map("".join) | st.text())
def test_any_text_is_survived(text: str) -> None:
    try:
        parse(text)
    except ScriptError:
        assert "\0" in text
