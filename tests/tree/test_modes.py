"""Modes of contents, against chmod itself.

Without these tests, a mode in --contents can open a secret file to others, as it means something
else to chmod.
"""

import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.tree.modes import apply, parse_mode
from tests.support.helpers import directory

# Bits that any user may set in files of their own.
BITS = st.integers(0, 0o7777)


def by_chmod(place: Path, text: str, bits: int, *, is_directory: bool) -> int | None:
    """The bits that chmod leaves, None where it refuses the text."""
    path = place / "x"
    if is_directory:
        path.mkdir()
    else:
        path.touch()
    path.chmod(bits)
    done = subprocess.run(["chmod", "--", text, path], capture_output=True, umask=0o022)
    left = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o700)
    # With a text that starts with a minus, chmod would refuse what a umask takes away.
    return left if done.returncode == 0 or text.startswith("-") else None


def by_us(text: str, bits: int, *, is_directory: bool) -> int | None:
    try:
        return apply(parse_mode(text), bits, directory=is_directory)
    except ValueError:
        return None


@pytest.mark.parametrize("is_directory", [False, True])
@pytest.mark.parametrize("bits", [0o644, 0o6711, 0o1400])
@pytest.mark.parametrize(
    "text",
    [
        *("u=rw,go=r", "a+X", "u+s", "+t", "g=u", "o=", "u=,g=", "ug+rw-x", "a=rX", "go-rwx"),
        *("+x", "+w", "=rw", "-w", "u+t", "o+t", "g+s", "a+s", "u=g,g=o,o=u", "u=rwxs,g=u", "=t"),
        *("u+x+w=r", "u=g-w", "-", "u+", "uuu+rrr", "X+x", "u+z", "", ",", "u+r,", "rw", "u", "+g"),
        *("=644", "+111", "-22", "u=644", "+8", "a-t,a+X", "u-s,g-s", "g=s", "u=srt"),
    ],
)
def test_symbols_mean_what_they_mean_to_chmod(
    tmp_path: Path, text: str, bits: int, is_directory: bool
) -> None:
    expected = by_chmod(tmp_path, text, bits, is_directory=is_directory)
    assert by_us(text, bits, is_directory=is_directory) == expected


CLAUSE = st.builds(
    "{}{}".format,
    st.text("ugoa", max_size=2),
    st.lists(
        st.builds(
            "{}{}".format,
            st.sampled_from("+-="),
            st.text("rwxXst", max_size=3) | st.sampled_from("ugo"),
        ),
        min_size=1,
        max_size=3,
    ).map("".join),
)


@given(st.lists(CLAUSE, min_size=1, max_size=3).map(",".join), BITS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_symbols_mean_what_they_mean_to_chmod(text: str, bits: int, is_directory: bool) -> None:
    with directory() as place:
        expected = by_chmod(place, text, bits, is_directory=is_directory)
    assert by_us(text, bits, is_directory=is_directory) == expected


@given(st.text("DFugoa+-=rwxXst,0178 "))
def test_any_text_is_taken_or_refused(text: str) -> None:
    by_us(text, 0o644, is_directory=True)


@pytest.mark.parametrize(
    ("text", "of_file", "of_directory"),
    [
        ("0644", 0o644, 0o644),
        ("4755", 0o4755, 0o4755),
        ("0", 0, 0),
        ("00000644", 0o644, 0o644),
        ("D755,F644", 0o644, 0o755),
        ("Du+w,Fgo=r", 0o544, 0o2755),
        ("D2770", 0o555, 0o2770),
        ("ug+w,Do-rx", 0o775, 0o2770),
    ],
)
def test_digits_and_what_rsync_adds(text: str, of_file: int, of_directory: int) -> None:
    assert by_us(text, 0o555, is_directory=False) == of_file
    assert by_us(text, 0o2555, is_directory=True) == of_directory


@pytest.mark.parametrize(
    "text", ["888", "10000", "7" * 9000, "D", "F,D", "DF644", "u+x ", "\u0664"]
)
def test_what_is_no_mode(text: str) -> None:
    assert by_us(text, 0o644, is_directory=False) is None
