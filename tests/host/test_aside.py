"""Files of an owner go when it is replaced, and stay when it is not.

Without these tests, a run that fails can take away what belongs to the image that is there.
"""

import os
from pathlib import Path

import pytest

from assembler.errors import HostError
from assembler.host.aside import set_aside
from assembler.host.output import hidden_name


@pytest.fixture
def owner(tmp_path: Path) -> Path:
    path = tmp_path / "owner"
    path.write_text("old")
    return path


def replace(owner: Path) -> None:
    new = owner.with_name("new")
    new.write_text("new")
    new.rename(owner)


def test_they_are_hidden_and_then_go(owner: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()
    with set_aside([tmp_path / "a", tmp_path / "b", tmp_path / "absent"], owner):
        assert not (tmp_path / "a").exists()
        assert not (tmp_path / "b").exists()
        replace(owner)
    assert os.listdir(tmp_path) == ["owner"]


@pytest.mark.parametrize("failure", [HostError, KeyboardInterrupt])
def test_they_come_back_if_the_owner_stays(
    owner: Path, tmp_path: Path, failure: type[BaseException]
) -> None:
    (tmp_path / "a").write_text("a")
    with pytest.raises(failure), set_aside([tmp_path / "a"], owner):
        raise failure
    assert (tmp_path / "a").read_text() == "a"
    assert len(os.listdir(tmp_path)) == 2


def test_they_go_if_something_fails_after_the_owner_was_replaced(
    owner: Path, tmp_path: Path
) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(HostError), set_aside([tmp_path / "a"], owner):
        replace(owner)
        raise HostError
    assert os.listdir(tmp_path) == ["owner"]


def test_files_without_an_owner(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(HostError), set_aside([tmp_path / "a"], tmp_path / "owner"):
        raise HostError
    assert os.listdir(tmp_path) == ["a"]
    with set_aside([tmp_path / "a"], tmp_path / "owner"):
        (tmp_path / "owner").touch()
    assert os.listdir(tmp_path) == ["owner"]


def test_directories_and_impossible_names_are_passed_over(owner: Path, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with set_aside([tmp_path / "directory", tmp_path / ("x" * 256)], owner):
        replace(owner)
    assert sorted(os.listdir(tmp_path)) == ["directory", "owner"]


def test_what_a_killed_run_left_goes(owner: Path, tmp_path: Path) -> None:
    (tmp_path / hidden_name("a.old")).write_text("left")
    with pytest.raises(HostError), set_aside([tmp_path / "a"], owner):
        raise HostError
    assert os.listdir(tmp_path) == ["owner"]


def test_a_file_that_cannot_be_hidden_is_an_error(owner: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked/a").touch()
    (tmp_path / "locked").chmod(0o555)
    with (
        pytest.raises(OSError, match="Permission denied"),
        set_aside([tmp_path / "locked/a"], owner),
    ):
        pytest.fail("the block was run")
    assert os.listdir(tmp_path / "locked") == ["a"]
