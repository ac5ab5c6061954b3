"""Mistakes in a user's JSON are named with file and line.

Without these tests, a user searches a whole file for one missing comma.
"""

import pytest

from assembler.errors import RequestError
from assembler.host.json_text import load_json


def test_what_is_json_is_read() -> None:
    assert load_json(b' {"a": [1, null]} ', "x") == {"a": [1, None]}
    assert load_json(b'{"a": 1, "a": 2}', "x", list) == [("a", 1), ("a", 2)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", "x is not JSON (line 1, column 1)"),
        (b'{\n "a" 1}', "x is not JSON (line 2, column 6)"),
        (b"\xff", "x is not JSON: it is not text in UTF-8"),
        (
            b'{"a":' * 100_000,
            "x is not JSON that can be read: its lists and objects are nested too deeply",
        ),
        (b"9" * 5000, "x is not JSON that can be read: a number in it has too many digits"),
    ],
)
def test_a_fault_is_one_line_in_plain_words(text: bytes, line: str) -> None:
    with pytest.raises(RequestError) as caught:
        load_json(text, "x")
    assert caught.value.problems == (line,)
