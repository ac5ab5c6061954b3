"""prepare-root fills only suitable directories, and recognises one that it left incomplete.

Without these tests, prepare-root can fill the wrong directory, even the root of this machine.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assembler.errors import HostError, RequestError
from assembler.root.root_directory import UNFINISHED, directory_problems, unfinished
from tests.support.helpers import output, verify
from tests.support.places import AsRoot
from tests.support.systems import System, add_path, make_system, store_path

COMMAND = Path(sys.executable).parent / "prepare-root"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("source"))


def prepare_root(root: Path, *options: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(arg) for arg in (COMMAND, root, *options)], capture_output=True, text=True
    )


def listing(root: Path) -> list[bytes]:
    """Every path with type, mode and link target, as find(1) sees them."""
    return sorted(output("find", root, "-printf", "%P %y %m %l\\0").split(b"\0"))


def make(root: Path, *names: str) -> None:
    """Files, directories (`x/`) and links (`x@`) below `root`."""
    for name in names:
        path = root / name.rstrip("/@")
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        elif name.endswith("@"):
            path.symlink_to("/etc")
        else:
            path.touch()


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["lost+found/"],
        ["boot/EFI/BOOT/BOOTX64.EFI", "efi/EFI/x", "lost+found/#12"],
        ["nix/lost+found/#12", "home/", "var/log/"],
        ["etc/nixos/configuration.nix", "etc/nixos/hardware-configuration.nix"],
        [UNFINISHED, "bin/sh"],
        ["etc/NIXOS", "nix/var/nix/db/schema", "home/me/file"],
    ],
)
def test_what_may_be_filled(tmp_path: Path, names: list[str]) -> None:
    make(tmp_path, *names)
    assert directory_problems(tmp_path, force=False) == []


@pytest.mark.parametrize(
    ("names", "stranger"),
    [
        (["file"], "file"),
        (["link@"], "link"),
        (["boot@"], "boot"),
        (["lost+found"], "lost+found"),
        (["home/me/file"], "home/me/file"),
        (["etc/NIXOS"], "etc/NIXOS"),
        (["nix/var/nix/db/schema"], "nix/var/nix/db/schema"),
        (["etc/nixos@"], "etc/nixos"),
        ([f"{UNFINISHED}@"], UNFINISHED),
    ],
)
def test_what_may_not(tmp_path: Path, names: list[str], stranger: str) -> None:
    make(tmp_path, *names)
    [line] = directory_problems(tmp_path, force=False)
    assert line == (
        f"{tmp_path} is neither empty nor a prepared root: there is {tmp_path}/{stranger}; "
        "force fills it all the same"
    )
    assert directory_problems(tmp_path, force=True) == []


def test_a_directory_that_cannot_be_looked_into_counts_as_full(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    [line] = directory_problems(tmp_path, force=False)
    assert f"there is {tmp_path}/closed" in line


def test_lost_and_found_as_mkfs_makes_it(system: System, tmp_path: Path, as_root: AsRoot) -> None:
    """A new file system with its lost+found, which only root may enter."""
    disk, mount = tmp_path / "disk", tmp_path / "mount"
    mount.mkdir()
    output("truncate", "-s", "64M", disk)
    output("/sbin/mke2fs", "-q", "-t", "ext4", "-E", f"root_owner={os.geteuid()}:0", disk)
    as_root("mount", "-o", "loop", disk, mount)
    try:
        done = prepare_root(mount, *system.options)
        assert done.returncode == 0, done.stderr
        assert (mount / "etc/NIXOS").is_file()
    finally:
        as_root("umount", mount)


def test_a_link_to_a_directory_is_followed(system: System, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to("root")
    done = prepare_root(tmp_path / "link", *system.options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "root/etc/NIXOS").is_file()


@pytest.mark.parametrize("name", ["/", "//", "/usr/..", "link"])
def test_the_machines_own_root_is_refused(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("/")
    done = prepare_root(Path(name) if name == "link" else Path("/") / name, *system.options)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.endswith("is the root of this machine: --force fills it all the same")


def test_a_full_directory_is_refused_and_left_alone(system: System, tmp_path: Path) -> None:
    make(tmp_path / "home", "me/letter", "me/empty/")
    before = listing(tmp_path)
    done = prepare_root(tmp_path / "home", *system.options)
    assert done.returncode == 2
    assert done.stderr == (
        f"prepare-root: {tmp_path}/home is neither empty nor a prepared root: there is "
        f"{tmp_path}/home/me/letter; --force fills it all the same\n"
    )
    assert listing(tmp_path) == before


def test_force_fills_it_and_keeps_what_is_there(system: System, tmp_path: Path) -> None:
    make(tmp_path / "root", "me/letter")
    done = prepare_root(tmp_path / "root", *system.options, "--force")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "root/me/letter").is_file()
    assert verify(tmp_path / "root") == ""


def test_a_prepared_root_is_filled_again(system: System, tmp_path: Path) -> None:
    assert prepare_root(tmp_path, *system.options, "--force").returncode == 0
    before = listing(tmp_path)
    make(tmp_path, "home/me/file")
    done = prepare_root(tmp_path, *system.options)
    assert done.returncode == 0, done.stderr
    assert set(listing(tmp_path)) >= set(before)
    assert not (tmp_path / UNFINISHED).exists()


def test_a_request_that_cannot_be_met_leaves_no_mark(system: System, tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(root, "bin/sh/")
    before = listing(root)
    done = prepare_root(root, *system.options)
    assert (done.returncode, done.stderr.count(f"{root}/bin/sh is a directory")) == (2, 1)
    assert listing(root) == before


def test_a_failure_leaves_the_mark(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="disk"), unfinished(tmp_path):
        (tmp_path / "nix").mkdir()
        raise HostError("the disk is full")
    assert (tmp_path / UNFINISHED).is_file()
    with pytest.raises(RequestError), unfinished(tmp_path):
        raise RequestError("the next one cannot be met")
    assert (tmp_path / UNFINISHED).is_file()


def test_a_mark_that_cannot_be_made_is_told() -> None:
    with pytest.raises(HostError, match="cannot prepare /proc: "), unfinished(Path("/proc")):
        pytest.fail("the body must not run")


# Dies, as if by SIGKILL, just before its n-th change of anything below the root: a number for
# each event of PEP 578 that changes a file system.
_DYING = """
import os, sys
from pathlib import Path
from assembler.cli.commands import _root_spec
from assembler.cli.options import add_root_options
from assembler.pipeline import prepare
from assembler.host.progress import Progress
from assembler.copying.sharing import CopyMode
from assembler.root.root_directory import directory_problems
import argparse

root, deadline, *argv = sys.argv[1:]
changes = (
    "os.mkdir", "os.chmod", "os.symlink", "os.link", "os.remove", "os.rename", "os.rmdir",
    "os.utime",
)
left = int(deadline)

def watch(event, arguments):
    global left
    changing = event in changes or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    place = arguments[0] if changing else None
    if isinstance(place, (str, bytes, Path)) and os.fsdecode(place).startswith(root + "/"):
        left -= 1
        if left == 0:
            os._exit(77)

parser = argparse.ArgumentParser()
add_root_options(parser)
spec = _root_spec(parser.parse_args(argv))
sys.addaudithook(watch)
prepare(spec, Path(root), CopyMode.AUTO, progress=Progress(bars=False, quiet=True))
print(int(deadline) - left)
"""


def test_killed_at_any_moment_it_can_be_completed(tmp_path: Path) -> None:
    system = make_system(tmp_path / "source")
    channel = store_path(7, "nixos-23.05")
    registration = add_path(system, channel, {"nixos/default.nix": b"{ }"})
    (tmp_path / "configuration.nix").write_text("{ }")
    options = [
        *system.options, "--closure", registration, "--channel", channel,
        "--generation", f"2={system.toplevel}", "--configuration", tmp_path / "configuration.nix",
    ]  # fmt: skip

    def run(root: Path, deadline: int) -> "subprocess.CompletedProcess[str]":
        root.mkdir(exist_ok=True)
        argv = [sys.executable, "-c", _DYING, root, deadline, *options]
        # What is killed leaves its scratch directory behind.
        env = {**os.environ, "TMPDIR": str(tmp_path)}
        return subprocess.run([str(arg) for arg in argv], capture_output=True, text=True, env=env)

    whole = run(tmp_path / "whole", 1_000_000)
    assert whole.returncode == 0, whole.stderr
    count = int(whole.stdout)
    assert count > 100
    wanted = listing(tmp_path / "whole")
    for deadline in [1, 2, 3, *range(4, count, count // 16), count - 1, count]:
        root = tmp_path / f"killed-{deadline}"
        killed = run(root, deadline)
        assert killed.returncode == 77, killed.stderr
        assert (root / UNFINISHED).exists() == (deadline > 1)
        assert directory_problems(root, force=False) == []
        completed = prepare_root(root, *options)
        assert completed.returncode == 0, completed.stderr
        assert listing(root) == wanted
    assert verify(root) == ""
