"""The log holds the output of all launches; only that of the last one explains an error.

Without these tests, an error can name the cause of an earlier launch.
"""

from pathlib import Path

import pytest

from assembler.appliance.logbook import Logbook


def test_what_was_said_since_the_last_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    book = Logbook(tmp_path / "log")
    book.begin_launch()
    assert book.text() == ""
    book.path.write_bytes(b"first\n")
    assert book.text() == "first\n"
    book.begin_launch()
    with book.path.open("ab") as file:
        file.write(b"second \xff\n")
    assert book.text() == "second \ufffd\n"
    where = book.keep("libguestfs's words")
    kept = Path(where.removeprefix("its log is "))
    assert kept.read_bytes() == b"first\nsecond \xff\n\nlibguestfs's words\n"


def test_where_nothing_can_be_kept(tmp_path: Path) -> None:
    assert Logbook(tmp_path / "absent/log").keep("x").startswith("its log could not be kept: ")
