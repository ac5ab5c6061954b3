"""Kernel parameters pass GRUB's shell unchanged, as they do with NixOS.

Without these tests, GRUB can split a kernel parameter or leave its quotes out, and the kernel gets
another one.
"""

import re
import shlex
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.boot.grub.quoting import (
    escaped_words,
    kernel_words,
    quote,
    quote_title,
    serial_console,
    setting,
)
from assembler.check.grub.script import expand, parse
from tests.support.boots import script_check
from tests.support.kernel_parameters import BY_GRUB

# Whatever a bootspec may hold, with what GRUB's shell would act on more often.
words = st.text(
    st.one_of(st.sampled_from("'\"\\$ {}()[]<>;|&#!*?~`="), st.characters()), max_size=30
).filter(str.isprintable)


def arguments(line: str) -> list[str]:
    """The arguments of a line that is to be one command; no variable has a value."""
    [command] = parse(line)
    assert not command.blocks
    assert command.words[0] == "linux"
    return [expand(word, lambda _: "") for word in command.words[1:]]


def command_line(words: Iterable[str]) -> str:
    """What GRUB makes of its arguments (grub_create_loader_cmdline)."""
    escaped = (re.sub(r"([\\'\"])", r"\\\1", word) for word in words)
    return " ".join(f'"{word}"' if " " in word else word for word in escaped)


@pytest.mark.parametrize(("param", "expected"), BY_GRUB.items())
def test_a_parameter_means_to_the_kernel_what_it_means_on_nixos(param: str, expected: str) -> None:
    line = f"linux a {' '.join(kernel_words([param]))} b"
    assert command_line(arguments(line)) == f"a {expected} b"


def test_parameters_are_words_wherever_the_configuration_ends_one() -> None:
    assert kernel_words(["quiet  splash ", "", "a=b"]) == ["quiet", "splash", "a=b"]
    assert kernel_words(['a="b', 'c"']) == ['a="b c"']
    assert kernel_words(["a=b\\", "c"]) == ["a=b\\ c"]
    assert kernel_words([]) == []


def test_quoted_words_that_grub_changes_all_the_same() -> None:
    """Those that are one word of GRUB's shell as they stand are the user's own."""
    changed = [param for param in BY_GRUB if escaped_words([param])]
    assert changed == ["t.apostrophe=a'b", r"t.mixed=\"a\";b\ c", 't.inch=5"', "t.last=\\"]


def test_many_words_take_no_longer() -> None:
    assert kernel_words(["a\\ " * 20_000 + "a;"])[-1].endswith("a;'")


@settings(max_examples=200, deadline=None)
@given(params=st.lists(words, max_size=3))
def test_whatever_the_parameters_they_are_arguments_of_one_command(params: list[str]) -> None:
    found = arguments(f"linux {' '.join(kernel_words(params))}")
    assert "".join(found) or not "".join(params).strip("\"' ") or "$" in "".join(params)


@given(word=words)
def test_a_quoted_word_is_one_word_again(word: str) -> None:
    assert shlex.split(quote(word)) == [word]


@given(title=words)
def test_a_quoted_title_is_one_word_again(title: str) -> None:
    assert shlex.split(quote_title(title)) == [title]


def test_titles_are_in_double_quotes_as_nixos_writes_them() -> None:
    assert quote_title("NixOS - Default") == '"NixOS - Default"'
    assert quote_title('a "b" $c') == "'a \"b\" $c'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1024x768,auto", "1024x768,auto"),
        ("1>2", "'1>2'"),
        ("two words", "'two words'"),
        ("'two words'", "'two words'"),
        ("${variable}", "${variable}"),
    ],
)
def test_a_setting_is_one_word(text: str, expected: str) -> None:
    assert setting(text) == expected
    script_check(f"set default={setting(text)}\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["console=tty0", "consoleblank=0"], []),
        (['"console=ttyS0"'], ["serial --unit=0 --speed=9600"]),
        (["console=ttyS0", "console=ttyS1,115200n8"], ["serial --unit=1 --speed=115200"]),
    ],
)
def test_the_serial_port_is_that_of_the_kernel(arguments: list[str], expected: list[str]) -> None:
    terminals = ["terminal_input --append serial", "terminal_output --append serial"]
    assert serial_console(arguments) == [*expected, *(terminals if expected else [])]
