"""Text for people has no control characters.

Without these tests, a name from an image can move the cursor of the user's terminal, or add a line.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.host.words import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("NixOS ünï 日本", "NixOS ünï 日本"),
        ("Nix\x1b[31mOS\x1b]0;pwn\x07", r"Nix\x1b[31mOS\x1b]0;pwn\x07"),
        ("a\nb\rc\td\0", r"a\nb\rc\td\x00"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp", r"\u202egnp"),
        (b"caf\xe9".decode(errors="surrogateescape"), r"caf\xe9"),
    ],
)
def test_nothing_controls_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_any_text_becomes_printable_and_stays_so(text: str) -> None:
    once = printable(text)
    assert once.isprintable()
    assert printable(once) == once
    once.encode()
