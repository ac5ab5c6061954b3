"""Patterns of loader.conf match as in systemd-boot.

Without these tests, a pattern in loader.conf can select another entry in the check than on the
machine.
"""

import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.check.glob import matches


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("nixos.conf", "nixos.conf", True),
        ("nixos.conf", "nixos-*", False),
        ("nixos-generation-12.conf", "nixos-*.conf", True),
        ("nixos-generation-12.conf", "*-1?.conf", True),
        ("a", "[abc]", True),
        ("d", "[a-c]", False),
        ("-", "[a-]", True),
        ("]", "[]]", True),
        ("*", r"\*", True),
        ("x", r"\*", False),
        ("a[", "a[", False),
        ("x\\", "x\\", False),
        ("", "*", True),
        ("", "?", False),
        ("", "", True),
    ],
)
def test_patterns(name: str, pattern: str, expected: bool) -> None:
    assert matches(name, pattern) is expected


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_as_in_python(pattern: str, name: str) -> None:
    assert matches(name, pattern) == fnmatchcase(name, pattern)


@given(st.text("ab[]-*?\\"), st.text("ab-"))
def test_any_pattern_gives_an_answer(pattern: str, name: str) -> None:
    assert matches(name, pattern) in (True, False)


@pytest.mark.parametrize("pattern", ["[" * 60_000, "[a" * 30_000, "*a" * 127 + "b", "*" * 60_000])
def test_long_patterns_take_no_time(pattern: str) -> None:
    begun = time.process_time()
    for _ in range(20):
        matches("a" * 255, pattern)
    assert time.process_time() - begun < 10
