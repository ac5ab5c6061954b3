"""How much memory the commands hold: little, and no more for more data.

Without these tests, a command that reads a whole file or export into memory passes unnoticed. The
closure of 1 GB is slow; one of 256 MB, more than may be held, is part of every run.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from assembler.host.scratch import remove_tree
from benchlib.closure import Load, Shape, make_up
from benchlib.measure import run
from benchlib.room import scratch_directory
from tests.support.helpers import nix_store
from tests.support.places import COMMANDS

_LARGE = Shape(size=1_000_000_000, inodes=60_000, paths=400)  # bytes: many times what may be held
_SMALL = Shape(size=256_000_000, inodes=4_000, paths=100)
_MOST = 150_000_000  # bytes resident, over the whole process tree
_MOST_OF_SMALL = 100_000_000


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """A directory for the closure, an export of it and a copy; in memory where that is enough."""
    with scratch_directory(None, 4 * _LARGE.size) as directory:
        yield directory


@pytest.fixture(scope="module")
def load(room: Path, request: pytest.FixtureRequest) -> Iterator[Load]:
    """A closure of the shape that the test names; the large one is as that of a desktop system."""
    shape: Shape = request.param
    load = make_up(room / "load", shape)
    assert load.data >= shape.size
    assert load.inodes > 0.99 * shape.inodes
    yield load
    remove_tree(room / "load")


@pytest.fixture(scope="module")
def files(load: Load, room: Path) -> Iterator[Path]:
    """A directory with a registration and an export of the closure."""
    (room / "files").mkdir()
    paths = nix_store(load.root, "--query", "--requisites", load.system).decode().split()
    (room / "files/registration").write_bytes(nix_store(load.root, "--dump-db", *paths))
    with (room / "files/export").open("wb") as export:
        store = ["--store", f"local?root={load.root}"]
        subprocess.run(["nix-store", *store, "--export", *paths], stdout=export, check=True)
    yield room / "files"
    remove_tree(room / "files")


def arguments(load: Load, files: Path, source: str) -> list[str | Path]:
    """The options for where the closure is; the pipe is process substitution of bash's."""
    store: list[str | Path] = ["--system", load.system, "--quiet", "--store", load.root]
    match source:
        case "live":
            return store
        case "hashed":
            return [*store, "--closure", files / "registration"]
        case _:
            return ["--system", load.system, "--quiet", "--closure", files / "export"]


def _peak(load: Load, files: Path, room: Path, command: str, source: str) -> int:
    """The most bytes that `command` and its children hold, with the closure out of `source`."""
    target = room / "target"
    argv = [COMMANDS / command, *arguments(load, files, source)]
    if command == "assemble":
        argv += ["--out", target]
    else:
        target.mkdir()
        argv.append(target)
    if source == "pipe":
        argv[argv.index("--closure") + 1] = "-"
        script = 'export=$1; shift; exec "$@" < <(cat "$export")'
        argv = ["bash", "-c", script, "bash", files / "export", *argv]
    try:
        return run(argv, env={"TMPDIR": str(room)}).peak
    finally:
        remove_tree(target)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["live", "hashed", "export", "pipe"])
@pytest.mark.parametrize("command", ["assemble", "prepare-root"])
@pytest.mark.parametrize("load", [_LARGE], indirect=True)
def test_memory_is_bounded(load: Load, files: Path, room: Path, command: str, source: str) -> None:
    peak = _peak(load, files, room, command, source)
    print(f"{command}, {source}: {peak / 1e6:.0f} MB")
    assert 20_000_000 < peak <= _MOST


@pytest.mark.parametrize(
    ("command", "source"), [("assemble", "live"), ("assemble", "pipe"), ("prepare-root", "export")]
)
@pytest.mark.parametrize("load", [_SMALL], indirect=True)
def test_less_is_held_than_the_data(
    load: Load, files: Path, room: Path, command: str, source: str
) -> None:
    peak = _peak(load, files, room, command, source)
    print(f"{command}, {source}: {peak / 1e6:.0f} MB")
    assert 20_000_000 < peak <= _MOST_OF_SMALL
