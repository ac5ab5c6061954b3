"""Scratch directories are removed at the end of a run, or by the next run.

Without these tests, runs that were killed fill TMPDIR, or a run removes the files of another.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assembler.errors import HostError
from assembler.host import process
from assembler.host.scratch import plain_name, remove_scratch, scratch_directory
from tests.support.helpers import output
from tests.support.places import AsRoot


@pytest.fixture
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TMPDIR of our own."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


@contextmanager
def another_run(tmp: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has a scratch directory with a read-only one in it."""
    script = (
        "import os, sys; from assembler.host.scratch import scratch_directory\n"
        "with scratch_directory() as name:\n"
        "  os.mkdir(f'{name}/below'); open(f'{name}/below/file', 'w').close()\n"
        "  os.chmod(f'{name}/below', 0o555)\n"
        "  print(name, flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "TMPDIR": str(tmp), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as running:
        assert running.stdout is not None
        assert running.stdout.readline()
        yield running


def test_a_scratch_directory_is_private_and_goes_away(tmp: Path) -> None:
    with scratch_directory() as name, scratch_directory() as second:
        assert name != second
        assert Path(name).stat().st_mode & 0o777 == 0o700
        assert Path(name).parent.stat().st_mode & 0o777 == 0o700
        (Path(name) / "read-only").mkdir(mode=0o555)
    assert list(tmp.iterdir()) == []


def test_what_an_interrupt_left_is_removed_in_the_end(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = scratch_directory()
    (Path(left.name) / "read-only/below").mkdir(parents=True)
    (Path(left.name) / "read-only").chmod(0o555)

    def interrupt(_path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.rmtree", interrupt)
        left.cleanup()
    assert Path(left.name).exists()
    remove_scratch()
    assert list(tmp.iterdir()) == []


def test_a_killed_run_is_cleared_away_by_the_next(tmp: Path) -> None:
    with another_run(tmp) as killed:
        killed.kill()
    assert len([*tmp.iterdir()]) == 1
    with scratch_directory() as name:
        assert [*tmp.iterdir()] == [Path(name).parent]
    assert list(tmp.iterdir()) == []


def test_a_run_that_lives_keeps_what_it_has(tmp: Path) -> None:
    with another_run(tmp) as running:
        before = [*tmp.iterdir()]
        with scratch_directory():
            assert len([*tmp.iterdir()]) == 2
        assert [*tmp.iterdir()] == before
        running.send_signal(signal.SIGKILL)


def test_other_names_and_links_stay(tmp: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp / "assemble-0123456789ab").symlink_to(tmp_path / "kept")
    for name in ("assemble-test-x", "assemble-0123456789ab0123", "xassemble-0123456789ab"):
        (tmp / name).mkdir()
    (tmp / "assemble-aaaaaaaaaaaa").touch()
    before = sorted(tmp.iterdir())
    with scratch_directory():
        pass
    assert sorted(tmp.iterdir()) == before
    assert (tmp_path / "kept").is_dir()


def test_what_another_user_has_stays(tmp: Path, as_root: AsRoot) -> None:
    tmp.chmod(0o1777)
    other = tmp / "assemble-0123456789ab"
    as_root("install", "-d", "-m", "755", "-o", "root", other)
    try:
        with scratch_directory():
            assert other.is_dir()
        as_root(
            "env", f"TMPDIR={tmp}", f"PYTHONPATH={os.pathsep.join(sys.path)}", sys.executable, "-c",
            "import assembler.host.scratch as s\nwith s.scratch_directory(): pass",
        )  # fmt: skip
        assert not other.exists()  # its own user's run has removed it
    finally:
        as_root("rm", "-rf", other)


def test_two_runs_that_begin_at_once_do_not_meet(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other takes what has no lock yet for a left-over: we begin anew."""
    made: list[Path] = []
    lock = __import__("fcntl").flock

    def swept(handle: int, how: int) -> None:
        if not made:
            made.extend(tmp.iterdir())
            made[0].rmdir()
        lock(handle, how)

    monkeypatch.setattr("fcntl.flock", swept)
    with scratch_directory() as name:
        assert Path(name).is_dir()
        assert Path(name).parent not in made
    assert list(tmp.iterdir()) == []


@pytest.mark.parametrize("kind", ["relative", "link", "empty"])
def test_tmpdir_may_be_a_link_or_relative(
    tmp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "link").symlink_to(tmp)
    monkeypatch.chdir(tmp)
    monkeypatch.setenv("TMPDIR", {"relative": ".", "link": f"{tmp_path}/link", "empty": ""}[kind])
    expected = Path("/tmp") if kind == "empty" else tmp
    with scratch_directory() as name:
        assert Path(name).parent.parent == expected
        assert process.environment().get("TMPDIR") == str(expected)


@pytest.mark.parametrize(
    ("place", "fault"),
    [("nowhere", "is not a directory"), ("file", "is not"), ("closed", "may not be written to")],
)
def test_no_place_for_a_scratch_directory_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, fault: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir(mode=0o555)
    monkeypatch.setenv("TMPDIR", str(tmp_path / place))
    with pytest.raises(HostError, match=rf"TMPDIR .*/{place} {fault}.*: set TMPDIR"):
        scratch_directory()


def test_a_place_that_may_not_be_listed(tmp: Path) -> None:
    tmp.chmod(0o300)
    with scratch_directory() as name:
        assert Path(name).is_dir()
    tmp.chmod(0o700)
    assert list(tmp.iterdir()) == []


def test_a_disk_that_takes_no_directory_is_told(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device", "/tmp/x")

    with monkeypatch.context() as patch, pytest.raises(HostError, match=r"No space.*set TMPDIR"):
        patch.setattr(Path, "mkdir", full)
        scratch_directory()
    with scratch_directory():
        pass
    assert list(tmp.iterdir()) == []


def test_a_deep_scratch_directory_goes_away() -> None:
    with scratch_directory() as name:
        output("mkdir", "-p", Path(name) / "/".join("d" * 1500))
        output("chmod", "-R", "a-w", f"{name}/d")
    assert not os.path.lexists(name)


def test_a_plain_name_leads_to_a_file_of_any_name(tmp: Path, tmp_path: Path) -> None:
    odd = tmp_path / "-a?b@@c\nd"
    odd.write_text("text")
    with plain_name(odd) as alias:
        assert alias.read_text() == "text"
        assert not set(str(alias)) & set("?@\n")
    assert list(tmp.iterdir()) == []
