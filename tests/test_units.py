"""Sizes, against numfmt(1).

Without these tests, a size in an option or a message can be read as another number.
"""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.units import GIB, TIB, exact_sizes, format_size, parse_size, round_up, write_size
from tests.support.helpers import output


@pytest.mark.parametrize("text", ["0", "1", "17K", "3M", "5G", "2T", "1.5G", "0.3K", "1.1M"])
def test_parse_size_agrees_with_numfmt(text: str) -> None:
    assert parse_size(text) == int(output("numfmt", "--from=iec", text))


@pytest.mark.parametrize("text", ["1KiB", "1kb", "1k", " 1K "])
def test_parse_size_takes_the_usual_spellings(text: str) -> None:
    assert parse_size(text) == 1024


@pytest.mark.parametrize(
    "text",
    [
        "",
        "K",
        "-1",
        "1.G",
        ".5G",
        "1.5.5",
        "0x10",
        "1 2",
        "1\u212a",
        "\u0663",
        "9" * 5000,
        "8388608T",
    ],
)
def test_parse_size_names_what_it_refuses(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@given(st.integers(0, TIB), st.integers(0, TIB))
def test_sizes_that_differ_read_differently(one: int, other: int) -> None:
    """As 2040 and 2041 GiB do not in words alone."""
    words = exact_sizes(one, other)
    assert (words[0] == words[1]) == (one == other)
    assert exact_sizes(GIB, 2 * GIB) == ["1.0 GiB", "2.0 GiB"]


@pytest.mark.parametrize("text", ["0", "1023", "17K", "3M", "1537M", "5G", "2T"])
def test_a_size_is_written_as_it_is_read(text: str) -> None:
    assert write_size(int(output("numfmt", "--from=iec", text))) == text


@given(st.text("0123456789KMGTkib \u212a\u0663-.", max_size=50))
def test_parse_size_raises_nothing_but_value_error(text: str) -> None:
    with suppress(ValueError):
        assert 0 <= parse_size(text) < 1 << 63


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (8 << 40, "8.0 TiB")],
)
def test_format_size(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 1 << 63), st.integers(1, 1 << 40))
def test_round_up_gives_the_next_multiple(number: int, multiple: int) -> None:
    rounded = round_up(number, multiple)
    assert rounded % multiple == 0
    assert 0 <= rounded - number < multiple
