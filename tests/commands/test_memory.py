"""How much memory the commands hold while they work on a closure of 1 GB."""

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

pytestmark = pytest.mark.slow

_SIZE = 1_000_000_000  # bytes: many times what may be held
_INODES = 60_000
_MOST = 150_000_000  # bytes resident, over the whole process tree


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """A directory for the closure, an export of it and a copy; in memory where that is enough."""
    with scratch_directory(None, 4 * _SIZE) as directory:
        yield directory


@pytest.fixture(scope="module")
def load(room: Path) -> Load:
    """A closure, as large as that of a desktop system."""
    load = make_up(room / "load", Shape(size=_SIZE, inodes=_INODES, paths=400))
    assert load.data >= _SIZE
    assert load.inodes > 0.99 * _INODES
    return load


@pytest.fixture(scope="module")
def files(load: Load, room: Path) -> Path:
    """A directory with a registration and an export of the closure."""
    (room / "files").mkdir()
    paths = nix_store(load.root, "--query", "--requisites", load.system).decode().split()
    (room / "files/registration").write_bytes(nix_store(load.root, "--dump-db", *paths))
    with (room / "files/export").open("wb") as export:
        store = ["--store", f"local?root={load.root}"]
        subprocess.run(["nix-store", *store, "--export", *paths], stdout=export, check=True)
    return room / "files"


def arguments(load: Load, files: Path, source: str) -> list[str | Path]:
    """What tells a command where the closure is; the pipe is process substitution of bash's."""
    store: list[str | Path] = ["--system", load.system, "--quiet", "--store", load.root]
    match source:
        case "live":
            return store
        case "hashed":
            return [*store, "--closure", files / "registration"]
        case _:
            return ["--system", load.system, "--quiet", "--closure", files / "export"]


@pytest.mark.parametrize("source", ["live", "hashed", "export", "pipe"])
@pytest.mark.parametrize("command", ["assemble", "prepare-root"])
def test_memory_is_bounded(load: Load, files: Path, room: Path, command: str, source: str) -> None:
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
        peak = run(argv, env={"TMPDIR": str(room)}).peak
    finally:
        remove_tree(target)
    print(f"{command}, {source}: {peak / 1e6:.0f} MB")
    assert 20_000_000 < peak <= _MOST
