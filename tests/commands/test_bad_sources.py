"""Wrong closure sources, end to end: the message, and that no files are left behind.

Without these tests, a damaged source ends in a traceback, or leaves files behind.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from assembler.store.registration import format_registration
from tests.support.helpers import export_to, nix_store, output, real_info, registered_system, verify
from tests.support.places import COMMANDS, AsRoot
from tests.support.systems import System, add_path, make_system, store_path

_COMMANDS = ("assemble", "prepare-root")
_WRONG = "0" * 64


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return registered_system(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def export(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_to(tmp_path_factory.mktemp("export") / "closure", system)


def test_an_export_leads_to_no_file_of_this_host(tmp_path: Path) -> None:
    """Neither to a kernel at home nor to one of a store path that the export lacks."""
    made = make_system(tmp_path / "store")
    kernel, initrd = made.host(f"{made.paths[0]}/bzImage"), made.host(f"{made.paths[1]}/initrd")
    other = store_path(9, "initrd")
    kernel.rename(tmp_path / "kernel")
    kernel.symlink_to(tmp_path / "kernel")
    made.host(other).mkdir()
    initrd.rename(made.host(f"{other}/initrd"))
    initrd.symlink_to(f"{other}/initrd")
    infos = [real_info(made.root, path) for path in made.paths]
    infos[3] = infos[3]._replace(references=made.paths[:3])
    nix_store(made.root, "--load-db", stdin=format_registration(infos))
    export = export_to(tmp_path / "export", made)
    (tmp_path / "assemble").mkdir()
    target = Target("assemble", tmp_path / "assemble")
    lines = target.refused(made, "--store", made.root, "--closure", export)
    assert [line.rpartition(".json: ")[2] for line in lines] == [
        f"kernel {made.paths[0]}/bzImage leads to {tmp_path}/kernel, which is outside /nix/store",
        f"initrd {made.paths[1]}/initrd leads to {other}/initrd, which is not in the closure",
    ]


class Target:
    """Where a command is to put something, with TMPDIR beside it."""

    def __init__(self, command: str, directory: Path) -> None:
        self.command, self.directory = command, directory
        self.path = directory / ("disk.raw" if command == "assemble" else "root")
        (directory / "tmp").mkdir()
        if command == "prepare-root":
            self.path.mkdir()

    def run(
        self, system: System, *options: str | Path, stdin: bytes | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run the command with TMPDIR in our directory; `stdin` comes by a pipe."""
        out = ["--out", self.path] if self.command == "assemble" else [self.path]
        argv = [COMMANDS / self.command, *out, "--system", system.toplevel]
        done = subprocess.run(
            [*argv, "--quiet", *options],
            input=stdin,
            capture_output=True,
            env={**os.environ, "TMPDIR": str(self.directory / "tmp")},
        )
        text = (done.stdout.decode(), done.stderr.decode())
        return subprocess.CompletedProcess(done.args, done.returncode, *text)

    def refused(self, system: System, *options: str | Path, status: int = 2) -> list[str]:
        """Run the command, which must fail, and return its message."""
        done = self.run(system, *options)
        assert done.returncode == status, done.stderr
        assert list((self.directory / "tmp").iterdir()) == []
        return [line.removeprefix(f"{self.command}: ") for line in done.stderr.splitlines()]

    def is_untouched(self) -> bool:
        """Whether nothing was made."""
        made = [path for path in self.directory.iterdir() if path.name != "tmp"]
        if self.command == "assemble":
            return made == []
        return made == [self.path] and list(self.path.iterdir()) == []


@pytest.fixture(params=_COMMANDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return Target(request.param, tmp_path)


def with_wrong_hash(system: System, file: Path) -> tuple[Path, str, str]:
    """A registration with another hash for the shell; also that path and its right hash."""
    shell = system.paths[2]
    right = real_info(system.root, shell).nar_hash
    assert right is not None
    file.write_text(system.registration.read_text().replace(right, _WRONG))
    return file, shell, right


def test_an_export_that_is_cut(
    target: Target, system: System, export: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cut = tmp_path_factory.mktemp("cut") / "cut"
    cut.write_bytes(export.read_bytes()[:120_000])
    [line] = target.refused(system, "--closure", cut)
    assert line.startswith(f"{cut}: byte 120000 is the end, ")
    assert line.endswith(f": store path 2, which follows {system.paths[0]}")
    assert target.is_untouched()


def test_a_pipe_that_ends_early_leaves_what_can_be_completed(
    target: Target, system: System, export: Path
) -> None:
    whole = export.read_bytes()
    done = target.run(system, "--closure", "-", stdin=whole[:120_000])
    assert done.returncode == 2
    assert done.stderr.startswith(f"{target.command}: standard input: byte 120000 is the end")
    assert list((target.directory / "tmp").iterdir()) == []
    if target.command == "assemble":
        assert target.is_untouched()
    done = target.run(system, "--closure", "-", stdin=whole)
    assert done.returncode == 0, done.stderr
    if target.command == "prepare-root":
        assert verify(target.path) == ""
        names = {*os.listdir(target.path / "nix/store")} - {".links"}  # of verify's
        assert names == {path[11:] for path in system.paths}


def test_a_hash_that_does_not_match(
    target: Target, system: System, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("wrong")
    registration, shell, right = with_wrong_hash(system, directory / "registration")
    store = ["--store", system.root]
    messages = target.refused(system, *store, "--closure", registration)
    assert messages == [
        f"{shell} does not match its registration: expected sha256:{_WRONG}, got sha256:{right}"
    ]
    if target.command == "assemble":
        assert target.is_untouched()
    else:
        assert not (target.path / "nix/var/nix/db/db.sqlite").exists()
    # With the option it becomes what is registered; and what was left is completed.
    done = target.run(system, *store, "--closure", registration, "--no-check-hashes")
    assert done.returncode == 0, done.stderr


def test_a_store_that_was_changed_behind_nixs_back(target: Target, tmp_path: Path) -> None:
    system = make_system(tmp_path / "tmp/store")
    nix_store(system.root, "--load-db", stdin=system.registration.read_bytes())
    kernel = system.host(f"{system.paths[0]}/bzImage")
    kernel.chmod(0o644)
    content = kernel.read_bytes()
    kernel.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = target.run(system, "--store", system.root, "--check-hashes")
    assert done.returncode == 2
    assert f"{system.paths[0]} does not match its registration: expected sha256:" in done.stderr
    kernel.write_bytes(kernel.read_bytes() + b"longer")
    done = target.run(system, "--store", system.root)
    assert done.returncode == 2
    assert f"{system.paths[0]} does not match its registration: its files make a NAR of" in (
        done.stderr
    )


def test_sources_that_disagree_name_both_hashes(
    target: Target, system: System, export: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("wrong")
    registration, shell, right = with_wrong_hash(system, directory / "registration")
    sources = ["--closure", registration, "--closure", system.registration]
    assert target.refused(system, "--store", system.root, *sources) == [
        f"{shell} is registered with two hashes: sha256:{_WRONG} and sha256:{right}"
    ]
    assert target.is_untouched()
    # An export has no hash; what its files have is found out while they are read.
    assert target.refused(system, "--closure", registration, "--closure", export) == [
        f"{shell} does not match its registration: expected sha256:{_WRONG}, got sha256:{right}"
    ]


def changed(export: Path, file: Path) -> Path:
    """An export in which one byte of a file's data is another."""
    content = bytearray(export.read_bytes())
    content[50_000] ^= 1  # in the kernel, which comes first
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_exports_of_one_path_must_be_the_same(
    target: Target,
    system: System,
    export: Path,
    tmp_path_factory: pytest.TempPathFactory,
    order: tuple[int, int],
) -> None:
    exports = [export, changed(export, tmp_path_factory.mktemp("changed") / "changed")]
    options = [part for number in order for part in ("--closure", exports[number])]
    [line] = target.refused(system, *options)
    assert line.startswith(f"{system.paths[0]} is in two exports with two hashes: sha256:")
    assert all(f" in {export}" in line for export in exports)
    assert target.is_untouched()
    done = target.run(system, "--closure", export, "--closure", export)
    assert done.returncode == 0, done.stderr


def test_the_live_store_vouches_for_no_export(
    target: Target, system: System, export: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its registration comes in with an additional path, but not its files."""
    bad = changed(export, tmp_path_factory.mktemp("changed") / "changed")
    path = store_path(6, "more")
    registration = add_path(system, path, {"file": b""}, [system.paths[0]])
    nix_store(system.root, "--load-db", stdin=registration.read_bytes())
    options = ["--store", system.root, "--closure", bad, "--additional-path", path]
    [line] = target.refused(system, *options)
    assert line.startswith(f"{system.paths[0]} does not match its registration: expected sha256:")


def test_an_export_that_lacks_what_it_refers_to(
    target: Target, system: System, tmp_path_factory: pytest.TempPathFactory
) -> None:
    part = tmp_path_factory.mktemp("part") / "part"
    part.write_bytes(nix_store(system.root, "--export", system.toplevel))
    messages = target.refused(system, "--closure", part)
    for path in system.paths[:3]:
        assert f"{system.toplevel} refers to {path}, which is not in the closure" in messages
    assert target.is_untouched()


def test_every_bad_line_is_told_at_once(
    target: Target, system: System, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("bad")
    lines = system.registration.read_text().split("\n")
    (directory / "name").write_text("/nix/store/short\n" + "\n".join(lines[1:]))
    (directory / "twice").write_text("\n".join(lines[:-1] + lines))
    (directory / "json").write_text(f'[{{"path": "{store_path(5, "x")}", "narHash": "z"}}]')
    messages = target.refused(
        system, "--store", system.root, "--closure", directory / "name",
        "--closure", directory / "twice", "--closure", directory / "json",
    )  # fmt: skip
    assert messages[0] == f"{directory}/name, line 1: '/nix/store/short' is not a store path"
    assert messages[1:5] == [f"{directory}/twice: {path} is there twice" for path in system.paths]
    assert messages[5].startswith(f"{directory}/json: {store_path(5, 'x')} has no list of")
    assert target.is_untouched()


def test_standard_input_is_read_once(target: Target, system: System) -> None:
    assert target.refused(system, "--closure", "-", "--closure", "-") == [
        "--closure -: standard input can be read only once"
    ]


@pytest.fixture
def small(as_root: AsRoot, tmp_path: Path) -> Iterator[Target]:
    """A root on a file system of 200 KiB."""
    target = Target("prepare-root", tmp_path)
    as_root("mount", "-t", "tmpfs", "-o", f"size=200k,uid={os.geteuid()}", "tmpfs", target.path)
    yield target
    as_root("umount", target.path)


@pytest.mark.parametrize("source", ["store", "export", "pipe"])
def test_a_target_that_fills_up(
    as_root: AsRoot, small: Target, system: System, export: Path, source: str
) -> None:
    target, options = small, ["--closure", "-"]
    if source != "pipe":
        options = ["--store", str(system.root)] if source == "store" else ["--closure", str(export)]
    stdin = export.read_bytes() if source == "pipe" else None
    done = target.run(system, *options, stdin=stdin)
    assert done.returncode == 1
    assert done.stderr == (
        f"prepare-root: the disk of {target.path} is full: 0 B are free: make room there\n"
    )
    assert list((target.directory / "tmp").iterdir()) == []
    as_root("mount", "-o", "remount,size=20m", target.path)
    done = target.run(system, *options, stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert verify(target.path) == ""


def test_nothing_is_unpacked_through_a_link_that_leads_out(
    system: System, export: Path, tmp_path: Path
) -> None:
    target = Target("prepare-root", tmp_path)
    (tmp_path / "outside/store").mkdir(parents=True)
    (target.path / "nix").symlink_to(tmp_path / "outside")
    done = target.run(system, "--closure", "-", "--force", stdin=export.read_bytes())
    assert done.returncode == 2
    assert done.stderr == f"prepare-root: {target.path}/nix is not a directory\n"
    assert list((tmp_path / "outside/store").iterdir()) == []


def test_a_pipe_changes_nothing_that_is_right(system: System, export: Path, tmp_path: Path) -> None:
    target = Target("prepare-root", tmp_path)
    shown = []
    for _ in range(2):
        done = target.run(system, "--closure", "-", stdin=export.read_bytes())
        assert done.returncode == 0, done.stderr
        store = target.path / "nix/store"
        shown.append(output("find", store, "-mindepth", "1", "-printf", "%p %i %C@\\n"))
    assert shown[0] == shown[1]
    broken = target.path / f"{system.paths[0]}/bzImage".lstrip("/")
    broken.chmod(0o644)
    broken.write_bytes(bytes(broken.stat().st_size))
    done = target.run(system, "--closure", "-", stdin=export.read_bytes())
    assert done.returncode == 0, done.stderr
    assert verify(target.path) == ""


def test_checking_hashes_looks_at_what_is_there(system: System, tmp_path: Path) -> None:
    """A file of the right size and with other bytes, as a power failure may leave it."""
    target = Target("prepare-root", tmp_path)
    options = ["--store", system.root]
    assert target.run(system, *options).returncode == 0
    broken = target.path / f"{system.paths[0]}/bzImage".lstrip("/")
    broken.chmod(0o644)
    broken.write_bytes(bytes(broken.stat().st_size))
    done = target.run(system, *options, "--check-hashes")
    assert done.returncode == 0, done.stderr
    assert verify(target.path) == ""


def test_another_copy_mode_parts_what_was_shared(tmp_path: Path) -> None:
    system = make_system(tmp_path / "tmp-store")
    output("chmod", "-R", "a-w", system.host("/nix/store"))
    output("find", system.host("/nix/store"), "-exec", "touch", "-h", "-d", "@1", "{}", "+")
    target = Target("prepare-root", tmp_path)
    links = []
    for mode in ("hardlink", "copy"):
        done = target.run(system, *system.options[:4], "--copy-mode", mode)
        assert done.returncode == 0, done.stderr
        links.append((target.path / f"{system.toplevel}/init".lstrip("/")).stat().st_nlink)
    assert links == [2, 1]


@pytest.mark.parametrize("by_pipe", [False, True])
@pytest.mark.parametrize("finished", [False, True])
def test_what_a_wrong_source_left_does_not_stay(
    system: System, export: Path, tmp_path: Path, by_pipe: bool, finished: bool
) -> None:
    """The next run, from a store that needs no hashing, finds files of the right sizes there."""
    target = Target("prepare-root", tmp_path)
    if finished:
        assert target.run(system, "--store", system.root).returncode == 0
    bad = changed(export, tmp_path / "tmp-changed")
    options: list[str | Path] = ["--closure", system.registration, "--closure"]
    stdin = bad.read_bytes() if by_pipe else None
    done = target.run(system, *options, "-" if by_pipe else bad, stdin=stdin)
    assert done.returncode == 2
    done = target.run(system, "--store", system.root)
    assert done.returncode == 0, done.stderr
    assert verify(target.path) == ""
