import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.boot.grub_words import (
    quote,
    quote_title,
    serial_console,
    setting,
    split_command_line,
)
from tests.boots import script_check

# Whatever a bootspec may hold, with what GRUB's shell would act on more often.
words = st.text(
    st.one_of(st.sampled_from("'\"\\$ {}()[]<>;|&#!*?~`="), st.characters()), max_size=30
).filter(str.isprintable)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (["quiet", "loglevel=4"], ["quiet", "loglevel=4"]),
        (["quiet  splash "], ["quiet", "splash"]),
        (['dyndbg="file a.c +p; file b.c +p"', "ro"], ["dyndbg=file a.c +p; file b.c +p", "ro"]),
        (['"dyndbg=file a.c +p" ro'], ["dyndbg=file a.c +p", "ro"]),
        (['open="never closed', "ro"], ["open=never closed ro"]),
        ([], []),
    ],
)
def test_parameters_are_split_as_the_kernel_splits_them(
    params: list[str], expected: list[str]
) -> None:
    assert split_command_line(params) == expected


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
        (["console=ttyS0"], ["serial --unit=0 --speed=9600"]),
        (["console=ttyS0", "console=ttyS1,115200n8"], ["serial --unit=1 --speed=115200"]),
    ],
)
def test_the_serial_port_is_that_of_the_kernel(arguments: list[str], expected: list[str]) -> None:
    terminals = ["terminal_input --append serial", "terminal_output --append serial"]
    assert serial_console(arguments) == [*expected, *(terminals if expected else [])]
