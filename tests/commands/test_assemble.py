"""How the commands refuse: every problem at once with its flag, exit 2, nothing created.

tests/plan/test_refusals.py has what a request is refused for.

Without these tests, a user learns of one problem a run, or finds a half-made file after a refusal.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ASSEMBLE, COMMANDS, PREPARE_ROOT
from tests.support.programs import run
from tests.support.systems import System, add_path, make_system, store_path


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"))


def refused(out: Path, *options: str | Path, **variables: str) -> list[str]:
    """The problems that `assemble` prints; asserts that it created nothing."""
    before = sorted(out.parent.iterdir()) if out.parent.is_dir() else []
    done = run(ASSEMBLE, "--out", out, *options, **variables)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert (sorted(out.parent.iterdir()) if out.parent.is_dir() else []) == before
    assert done.stdout == ""
    return [line.removeprefix("assemble: ") for line in done.stderr.splitlines()]


def test_size_too_small_by_how_much_is_true(system: System, tmp_path: Path) -> None:
    options = [*system.options, "--boot-size", "64M"]
    lines = refused(tmp_path / "x", *options, "--size", "76M")
    missing = next(line for line in lines if "missing" in line)
    need = 76 + float(missing.split(": ")[1].split()[0])
    done = run(ASSEMBLE, "--out", tmp_path / "x", *options, "--size", f"{need:.0f}M")
    assert done.returncode == 0, done.stderr


def test_all_problems_at_once(system: System, tmp_path: Path) -> None:
    rows = [{"source": "/nonexistent", "target": "/a"}, {"source": "/etc", "target": "../b"}]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows))
    options = [*system.options, "--contents", file, "--label", "x" * 17, "--size", "1000"]
    text = "\n".join(refused(tmp_path / "absent" / "x", *options))
    for problem in ("/nonexistent does not exist", "leaves the root", "--label", "--size 1000"):
        assert problem in text
    assert f"--out {tmp_path}/absent/x: the directory {tmp_path}/absent does not exist" in text


def test_an_odd_name_for_out(system: System, tmp_path: Path) -> None:
    """A tool that is given the name itself finds options, or an offset, in it."""
    name = "with space?mark a@@b,c\udcff"
    done = run(ASSEMBLE, "--out", tmp_path / name, *system.options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name).stat().st_size > 0


def test_missing_program(system: System, tmp_path: Path) -> None:
    """A host that lacks a tool: exit 1, the tool and its packages named."""
    program = "mcopy"
    tools = tmp_path / "tools"
    tools.mkdir()
    for directory in ("/usr/sbin", "/sbin", "/usr/bin", "/bin"):
        for tool in Path(directory).iterdir():
            link = tools / tool.name
            if tool.name != program and not link.is_symlink():
                link.symlink_to(tool)
    script = (
        "import assembler.host.programs as p; p._ADMIN_DIRECTORIES = ();"
        "from assembler.cli.commands import assemble_main; assemble_main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--out", str(tmp_path / "x"), *system.options],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": str(tools)},
    )
    assert done.returncode == 1, done.stderr
    assert f"{program} is not on PATH" in done.stderr
    assert not (tmp_path / "x").exists()


def test_prepare_root_fills_a_directory(system: System, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    done = run(PREPARE_ROOT, root, *system.options)
    assert done.returncode == 0, done.stderr
    assert (root / "etc/NIXOS").is_file()
    verify = ["nix-store", "--store", f"local?root={root}", "--verify", "--check-contents"]
    checked = subprocess.run(verify, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    query = [*verify[:3], "--query", "--requisites", system.toplevel]
    listed = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    assert sorted(listed) == sorted(system.paths)


def test_prepare_root_into_no_directory(system: System, tmp_path: Path) -> None:
    done = run(PREPARE_ROOT, tmp_path / "absent", *system.options)
    assert done.returncode == 2
    assert "is not a directory" in done.stderr


def test_an_interrupt_during_the_imports_says_nothing() -> None:
    script = (
        "import os, signal, sys\n"
        "class Interrupter:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 'assembler.pipeline': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupter)\n"
        "import assemble_start\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("command", ["assemble", "prepare-root"])
def test_every_bad_part_of_the_skeleton_is_named(
    system: System, tmp_path: Path, command: str
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    target = ["--out", root / "disk.raw"] if command == "assemble" else [root]
    options = [
        "--generation", "0=/home/me/system", "--generation", f"3={store_path(9, 'gone')}",
        "--channel", system.paths[2], "--configuration", "/nonexistent",
    ]  # fmt: skip
    done = run(COMMANDS / command, *target, *system.options, *options)
    assert done.returncode == 2
    for problem in (
        "--generation 0=/home/me/system is not a store path",
        "--generation 0=/home/me/system: the numbers are 1 to",
        f"--generation 3={store_path(9, 'gone')} does not exist",
        f"--channel {system.paths[2]} has neither",
        "--configuration /nonexistent does not exist",
    ):
        assert problem in done.stderr
    assert list(root.iterdir()) == []


def test_prepare_root_with_all_that_can_be_asked_for(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    channel, root = store_path(7, "nixos-23.05"), tmp_path / "root"
    registration = add_path(system, channel, {"nixos/default.nix": b"{ }"})
    (tmp_path / "configuration.nix").write_bytes(b"{ } # caf\xe9")
    root.mkdir()
    done = run(
        PREPARE_ROOT, root, *system.options, "--closure", registration,
        "--channel", f"{channel}/", "--configuration", tmp_path / "configuration.nix",
        "--generation", f"4={system.paths[2]}/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert os.readlink(root / "nix/var/nix/profiles/system") == "system-5-link"
    assert os.readlink(root / "nix/var/nix/profiles/system-5-link") == system.toplevel
    assert os.readlink(root / "nix/var/nix/profiles/system-4-link") == system.paths[2]
    query = ["nix-store", "--store", f"local?root={root}", "--query", "--requisites", channel]
    assert subprocess.run(query, capture_output=True, text=True).stdout.split() == [channel]
    assert (root / "etc/nixos/configuration.nix").read_bytes() == b"{ } # caf\xe9"
