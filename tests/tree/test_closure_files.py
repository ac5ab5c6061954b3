"""Files of store paths out of a store, an export that stays, and an export that was unpacked.

Without these tests, an image can depend on whether its closure is in a store, a file or a pipe.
"""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from assembler.errors import HostError, RequestError
from assembler.store.closure import Closure, read_closure
from assembler.store.paths import StoreRoot
from assembler.store.registration import format_registration
from assembler.store.sources import read_source
from assembler.tree.closure_files import ClosureFiles
from tests.support.boots import link, put
from tests.support.helpers import export_to, nix_store, output, real_info, registered_system
from tests.support.systems import System, store_path

PLACES = ("store", "export", "pipe")
NOWHERE = StoreRoot(Path("/nonexistent"))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return registered_system(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def export(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_to(tmp_path_factory.mktemp("export") / "export", system)


def from_export(file: Path, scratch: Path) -> ClosureFiles:
    files = ClosureFiles(NOWHERE, scratch)
    read_source(file, files.receive)
    return files


def from_pipe(file: Path, scratch: Path) -> ClosureFiles:
    """What comes of an export by a named pipe."""
    files, pipe = ClosureFiles(NOWHERE, scratch), scratch / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", 'cat "$0" > "$1"', file, pipe]):
        read_source(pipe, files.receive)
    return files


@pytest.fixture(params=PLACES)
def files(
    request: pytest.FixtureRequest, system: System, export: Path, tmp_path: Path
) -> ClosureFiles:
    """The system's files, wherever they are."""
    if request.param == "store":
        return ClosureFiles(StoreRoot(system.root), tmp_path)
    return (from_export if request.param == "export" else from_pipe)(export, tmp_path)


def test_wherever_files_are_the_answers_are_the_same(system: System, files: ClosureFiles) -> None:
    kernel, _, shell, top = system.paths
    assert [files.fault(path) for path in (*system.paths, f"{shell}/bin/sh")] == [""] * 5
    for absent in (f"{top}/x", f"{kernel}/bzImage/x", f"{shell}/bin/sh/x", store_path(9, "x")):
        assert files.fault(absent) in ("No such file or directory", "Not a directory")
        assert not files.is_file(absent)
        assert not os.path.lexists(files.host(absent))
    assert files.is_file(f"{top}/init")
    assert not any(map(files.is_file, (shell, f"{shell}/bin", f"{shell}/bin/sh")))
    assert files.resolve(f"{top}/sw/bin/sh") == f"{shell}/bin/bash"
    assert files.resolve(f"{top}/sw/bin/./../bin/sh") == f"{shell}/bin/bash"
    with pytest.raises(RequestError, match="does not exist"):
        files.resolve(f"{top}/sw/bin/zsh")


def test_no_link_is_followed_out_of_the_closure(tmp_path: Path) -> None:
    """Of a store, an export and a pipe alike."""
    inside, hostile, other = (store_path(number, "x") for number in (1, 2, 3))
    store = StoreRoot(tmp_path / "from")
    for path in (inside, other):
        put(store, f"{path}/file")
    for name, target in (("file", f"{inside}/file"), ("out", "/etc/passwd"), ("other", other)):
        link(store, f"{hostile}/{name}", target)
    infos = [real_info(store.root, path) for path in (inside, hostile, other)]
    nix_store(store.root, "--load-db", stdin=format_registration(infos))
    export = tmp_path / "export"
    export.write_bytes(nix_store(store.root, "--export", inside, hostile))
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for files in (
        ClosureFiles(store, tmp_path),
        from_export(export, tmp_path / "one"),
        from_pipe(export, tmp_path / "two"),
    ):
        files.base = store
        files.closure = frozenset((inside, hostile))
        assert files.resolve(f"{hostile}/file") == f"{inside}/file"
        with pytest.raises(RequestError, match=r"/out leads to /etc/passwd, which is outside"):
            files.resolve(f"{hostile}/out")
        with pytest.raises(RequestError, match=f"leads to {other}/file, which is not in the cl"):
            files.resolve(f"{hostile}/other/file")
        with pytest.raises(RequestError, match=f"{other}/file is not in the closure"):
            files.resolve(f"{other}/file")


def modes(top: Path) -> list[str]:
    """Every name below a path, with its mode and its target."""
    return sorted(output("find", top, "-printf", "%P %y%m %l\\n").decode().splitlines())


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_what_is_taken_out_has_names_modes_and_bytes(
    system: System, export: Path, tmp_path: Path, umask: int
) -> None:
    """Contents out of the store keep the modes that they have there."""
    before = os.umask(umask)
    try:
        files = from_export(export, tmp_path)
        taken = [files.host(path) for path in system.paths]
    finally:
        os.umask(before)
    for host, path in zip(taken, system.paths, strict=True):
        assert output("diff", "-r", "--no-dereference", system.host(path), host) == b""
        into = tmp_path / "restored" / path[1:]
        into.parent.mkdir(parents=True, exist_ok=True)
        dump = output("nix-store", "--dump", system.host(path))
        output("nix-store", "--restore", into, stdin=dump)
        for inode in (into, *into.rglob("*")):  # restoring does not make it read-only
            if not inode.is_symlink():
                inode.chmod(0o555 if inode.is_dir() or inode.stat().st_mode & 0o100 else 0o444)
        assert modes(host) == modes(into)


def test_a_part_that_was_taken_out_does_not_stand_for_the_whole(
    system: System, export: Path, tmp_path: Path
) -> None:
    """As boot.json is, before anybody wants the toplevel itself."""
    files = from_export(export, tmp_path)
    shell, top = system.paths[2:]
    assert files.host(f"{top}/boot.json").is_file()
    for part in (f"{shell}/bin/bash", f"{shell}/bin"):
        files.host(part)
    inode = files.host(f"{shell}/bin/bash").stat().st_ino
    for path in (top, shell):
        whole = files.host(path)
        assert output("diff", "-r", "--no-dereference", system.host(path), whole) == b""
        assert stat.S_IMODE(whole.stat().st_mode) == 0o555
        assert files.host(path) == whole
    assert files.host(f"{shell}/bin/bash").stat().st_ino == inode


def test_an_export_that_becomes_shorter_ends_the_work(
    system: System, export: Path, tmp_path: Path
) -> None:
    file = tmp_path / "export"
    file.write_bytes(export.read_bytes())
    files = from_export(file, tmp_path)
    os.truncate(file, 50_000)
    with pytest.raises(HostError, match=f"{file}: it became shorter while it was read"):
        files.host(system.paths[0])


def test_a_place_that_may_not_be_written_is_told(
    system: System, export: Path, tmp_path: Path
) -> None:
    files = from_export(export, tmp_path)
    (tmp_path / "extracted").mkdir(mode=0o500)
    with pytest.raises(HostError, match=r"extracting files from the export: .*Permission denied"):
        files.host(system.paths[0])


# A store path that two sources have, once with other bytes of the same length.


@pytest.fixture
def others(system: System, tmp_path: Path) -> tuple[Path, Path, str, str]:
    """Two exports of the shell that differ, and the hash that it has in each."""
    shell = system.paths[2]
    other = tmp_path / "other"
    (other / shell[1:] / "bin").mkdir(parents=True)
    (other / shell[1:] / "bin/bash").write_bytes(b"#?\n")
    (other / shell[1:] / "bin/bash").chmod(0o555)
    (other / shell[1:] / "bin/sh").symlink_to("bash")
    infos = [real_info(root, shell) for root in (system.root, other)]
    assert infos[0].nar_size == infos[1].nar_size
    nix_store(other, "--load-db", stdin=format_registration(infos[1:]))
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(nix_store(system.root, "--export", shell))
    two.write_bytes(nix_store(other, "--export", shell))
    return one, two, str(infos[0].nar_hash), str(infos[1].nar_hash)


def closure_of_sources(files: ClosureFiles, *sources: Path) -> Closure:
    return read_closure(sources, NOWHERE, "", (), files)


def test_exports_that_share_a_path_must_agree(
    system: System, export: Path, tmp_path: Path, others: tuple[Path, Path, str, str]
) -> None:
    one, two, right, wrong = others
    shell = system.paths[2]
    with pytest.raises(RequestError) as caught:
        closure_of_sources(ClosureFiles(NOWHERE, tmp_path), one, two)
    assert str(caught.value) == (
        f"{shell} is in two exports with two hashes: "
        f"sha256:{right} in {one} and sha256:{wrong} in {two}"
    )
    closure = closure_of_sources(ClosureFiles(NOWHERE, tmp_path), export, one)
    assert closure.paths == list(system.paths)


def test_what_an_export_holds_is_hashed_whatever_else_knows_it(
    system: System, tmp_path: Path, others: tuple[Path, Path, str, str]
) -> None:
    """Hashes of the live store or a pipe do not hold for bytes that are read elsewhere."""
    _, two, right, wrong = others
    shell = system.paths[2]
    # The toplevel refers to the shell, which comes with it out of the live store.
    files = ClosureFiles(StoreRoot(system.root), tmp_path)
    closure = read_closure([two], files.base, system.toplevel, [system.toplevel], files)
    assert closure.to_hash(None) == {shell}
    assert closure.from_store == {*system.paths} - {shell}
    with pytest.raises(RequestError, match=f"expected sha256:{right}, got sha256:{wrong}"):
        closure.with_hashes({shell: wrong})


def test_a_pipe_and_a_file_that_share_a_path(
    system: System, tmp_path: Path, others: tuple[Path, Path, str, str]
) -> None:
    one, two, right, wrong = others
    pipe, shell = tmp_path / "pipe", system.paths[2]
    os.mkfifo(pipe)
    files = ClosureFiles(NOWHERE, tmp_path)
    with subprocess.Popen(["sh", "-c", 'cat "$0" > "$1"', one, pipe]):
        closure = closure_of_sources(files, pipe, two)
    assert [info.nar_hash for info in closure.infos] == [right]
    assert closure.to_hash(None) == {shell}
    with pytest.raises(RequestError, match=f"expected sha256:{right}, got sha256:{wrong}"):
        closure.with_hashes({shell: wrong})
