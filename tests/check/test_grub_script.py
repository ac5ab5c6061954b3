"""Scripts that GRUB's own parser accepts are parsed; those that it refuses are faults.

Without these tests, a menu that GRUB accepts can be refused, or end check-image in a traceback. An
image whose menu has a syntax error can pass, and GRUB shows only a prompt.
"""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.check.grub.script import Command, ScriptError, expand, parse


def words(text: str) -> list[str]:
    """The words of a script of one command; a variable has its name in brackets as its value."""
    [command] = parse(text)
    return [expand(word, lambda name: f"<{name}>") for word in command.words]


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
    assert words('echo $a "${b}c" \'$d\' \\$e "\\$f" $? $1x\n') == [
        *("echo", "<a>", "<b>c", "$d", "$e", "$f", "<?>", "<1>x")
    ]


def echo(word: str) -> Command:
    return Command(("echo", word))


def test_branches() -> None:
    text = "if a; then echo 1; elif b\nthen\necho 2\nelse echo 3; fi\necho 4\n"
    conditions = (Command(("a",)),), (Command(("b",)),)
    assert parse(text) == (
        Command(("if",), (conditions[0], (echo("1"),), conditions[1], (echo("2"),), (echo("3"),))),
        echo("4"),
    )


def test_entries() -> None:
    text = "submenu a {\n  menuentry 'b c' --class x{\n    echo 1\n  }\n}\necho 2\n"
    inner = Command(("menuentry", "'b c'", "--class", "x"), ((echo("1"),),))
    assert parse(text) == (Command(("submenu", "a"), ((inner,),)), echo("2"))


def test_loops_and_functions() -> None:
    text = (
        "function f {\n  echo 0\n}\nfunction g\n{ echo 1; }\n"
        "for x in 1 2; do for y in 3; do echo 2; done; done\nuntil a\ndo\necho 3\ndone\necho 4\n"
    )
    assert parse(text) == (
        Command(("function", "f"), ((echo("0"),),)),
        Command(("function", "g"), ((echo("1"),),)),
        Command(("for",)),
        Command(("until",)),
        echo("4"),
    )


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "set a='b'\\''c' # ü\n"])
def test_good_ones(text: str) -> None:
    assert len(parse(text)) <= 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("menuentry x {\n  linux /a\n", None),
        ("set a=b\nif true; then\n  echo\n", None),
        ("set a=b\n}\n", 2),
        ("submenu 'all' { }\nmenuentry x {\n linux /k\n}\n", 1),
        ("set a='b\n\nmenuentry x {\n}\n", None),
        ("[" * 15_000, None),
        ("menuentry x {" * 100_000, None),
        ("x" * 2_000_000, None),
        ("echo 'a b", None),
    ],
    ids=range(9),
)
def test_bad_ones(text: str, line: int | None) -> None:
    with pytest.raises(ScriptError) as caught:
        parse(text)
    assert line is None or str(caught.value) == f"syntax error in line {line}"


@pytest.mark.parametrize(
    "text",
    ['"' + "\\" * 3_000_000, "$" * 3_000_000, "${" * 1_500_000, "'\"\\" * 1_000_000,
     '"$a' * 1_000_000, "a\\" * 1_500_000, "a\n" * 100_000, '"' + "a\\b" * 1_000_000,
     " {" * 1_500_000, "echo " + "$a" * 1_000_000, "#" * 3_000_000],
    ids=range(11),
)  # fmt: skip
def test_time_is_linear(text: str) -> None:
    began = time.process_time()
    with suppress(ScriptError):
        for command in parse(text):
            assert all(expand(word, str.upper) for word in command.words)
    assert time.process_time() - began < 5


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
    with suppress(ScriptError):
        parse(text)
