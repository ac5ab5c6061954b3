"""The demo system from every kind of closure source: one and the same closure, image and root.

Without these tests, the bytes of an image can depend on how its closure was described.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assembler.store.closure import read_closure
from assembler.store.paths import StoreRoot
from assembler.tree.closure_files import ClosureFiles
from tests.support import readback
from tests.support.helpers import output, verify
from tests.support.places import ASSEMBLE, COMMANDS, PREPARE_ROOT, UNPRIVILEGED, AsRoot

_SMALL = ("--additional-space", "16M", "--boot-size", "64M")  # these bytes are hashed, too
_NIX = ("nix", "--extra-experimental-features", "nix-command")
# A builder of the host's: the tests' own nix-daemon builds without a sandbox.
_BUILD = 'derivation {{ name = "source"; system = "x86_64-linux"; builder = "/bin/bash"; {} }}'
_GRAPH = """args = [ "-c" "/bin/cat graph > $out; :" ];
    exportReferencesGraph = [ "graph" (builtins.storePath "{}") ];"""
_ATTRIBUTES = """args = [ "-c" ". .attrs.sh; /bin/cat .attrs.json > \\${{outputs[out]}}; :" ];
    __structuredAttrs = true; outputs = [ "out" ];
    exportReferencesGraph.anything = [ (builtins.storePath "{}") ];"""


def built(expression: str, system: str) -> bytes:
    """What a derivation writes that is given the closure of `system`."""
    text = _BUILD.format(expression.format(system))
    out = output("nix-build", "--no-out-link", "-E", text).decode().strip()
    return Path(out).read_bytes()


@pytest.fixture(scope="module")
def sources(demo_system: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name → a source of the demo's closure."""
    directory = tmp_path_factory.mktemp("sources")
    paths = output("nix-store", "--query", "--requisites", demo_system).decode().split()
    registration = output("nix-store", "--dump-db", *paths)
    graph, attributes = built(_GRAPH, demo_system), built(_ATTRIBUTES, demo_system)
    [listed] = [one for one in json.loads(attributes).values() if isinstance(one, list) and one]
    keyed = {one["path"]: {k: one[k] for k in one if k != "path"} for one in listed}
    made = {
        "registration": registration,
        "graph": graph,
        "attributes": attributes,
        "path-info": output(*_NIX, "path-info", "--json", "--recursive", demo_system),
        "keyed": json.dumps(keyed).encode(),
        "export": output("nix-store", "--export", *paths),
    }
    for name, content in made.items():
        (directory / name).write_bytes(content)
    (directory / "closureInfo").mkdir()
    (directory / "closureInfo/registration").write_bytes(registration)
    (directory / "closureInfo/store-paths").write_text("".join(f"{path}\n" for path in paths))
    return {name: directory / name for name in (*made, "closureInfo")}


def assembled(out: Path, system: str, *options: str | Path, stdin: int | None = None) -> str:
    """The hash of the image that the command makes with some options."""
    argv = [ASSEMBLE, "--out", out, "--system", system, "--quiet", *_SMALL, *options]
    done = subprocess.run(argv, stdin=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    digest = output("sha256sum", out).decode().split()[0]
    out.unlink()
    return digest


@pytest.fixture(scope="module")
def expected(demo_system: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the image out of the live store."""
    return assembled(tmp_path_factory.mktemp("live") / "disk.raw", demo_system)


@pytest.fixture
def small(as_root: AsRoot, tmp_path: Path) -> Iterator[Path]:
    """A directory with room for 64 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", "size=64m,mode=777", "tmpfs", directory)
    yield directory
    as_root("umount", directory)


@pytest.mark.parametrize("name", ["closureInfo", "attributes", "path-info", "keyed"])
def test_sources_with_hashes_give_one_closure(
    sources: dict[str, Path], demo_system: str, tmp_path: Path, name: str
) -> None:
    """Then the image is the same, too: it is made from the closure, and the live store."""
    closures = []
    for source in (sources["registration"], sources[name]):
        store = StoreRoot(Path("/"))
        files = ClosureFiles(store, tmp_path)
        closures.append(read_closure([source], store, demo_system, [], files))
    assert closures[1] == closures[0]
    assert closures[0].is_hashed


@pytest.mark.parametrize("name", ["registration", "graph", "export"])
def test_every_source_gives_the_same_image(
    sources: dict[str, Path], expected: str, demo_system: str, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "disk.raw"
    assert assembled(out, demo_system, "--closure", sources[name]) == expected


def test_all_sources_together_give_the_same_image(
    sources: dict[str, Path], expected: str, demo_system: str, tmp_path: Path
) -> None:
    options = [part for source in sources.values() for part in ("--closure", source)]
    assert assembled(tmp_path / "disk.raw", demo_system, *options) == expected


def test_an_export_on_standard_input_needs_no_staging(
    small: Path, sources: dict[str, Path], expected: str, demo_system: str, tmp_path: Path
) -> None:
    """TMPDIR has no room for a copy; what is taken out is the little that we look into."""
    with sources["export"].open("rb") as export, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(small))
        stdin, out = export.fileno(), tmp_path / "disk.raw"
        assert assembled(out, demo_system, "--closure", "-", stdin=stdin) == expected
    assert list(small.iterdir()) == []


def test_checking_all_hashes_changes_nothing(
    expected: str, demo_system: str, tmp_path: Path
) -> None:
    assert assembled(tmp_path / "disk.raw", demo_system, "--check-hashes") == expected


def test_contents_out_of_an_export_are_those_of_the_store(
    sources: dict[str, Path], demo_system: str, tmp_path: Path
) -> None:
    """Files, patterns, directories, through links of the image's own; by a pipe, or from a file."""
    system = f"{demo_system}/sw"
    bash = str(Path(f"{system}/bin/sh").resolve().parent)
    rows = [
        {"source": f"{bash}/bash-static", "target": "/opt/one"},
        {"source": f"{bash}/*", "target": "/opt/all"},
        {"source": f"{system}/bin/sh", "target": "/opt/link"},
        {"source": f"{system}/lib/grub*", "target": "/opt/through"},
        {"source": f"{demo_system}/etc", "target": "/opt/etc"},
        {"source": f"{demo_system}/etc/passwd", "target": "/etc/passwd"},
        {"source": f"{system}/etc/mke2fs.conf", "target": "/opt/owned", "user": "nixbld3"},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    options = ["--contents", tmp_path / "rows.json"]
    out = tmp_path / "disk.raw"
    live = assembled(out, demo_system, *options)
    assert assembled(out, demo_system, *options, "--closure", sources["export"]) == live
    with piped(sources["export"]) as stdin:
        assert assembled(out, demo_system, *options, "--closure", "-", stdin=stdin) == live


@pytest.fixture(scope="module")
def live_root(demo_system: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that is prepared from the live store."""
    return prepared(tmp_path_factory.mktemp("live-root"), demo_system)


@pytest.mark.parametrize("name", ["graph", "export", "pipe"])
def test_every_source_gives_the_same_root(
    sources: dict[str, Path], live_root: Path, demo_system: str, tmp_path: Path, name: str
) -> None:
    source = "-" if name == "pipe" else sources[name]
    with piped(sources["export"]) as stdin:
        root = prepared(tmp_path, demo_system, "--closure", source, stdin=stdin)
    assert shown(root) == shown(live_root)
    assert verify(root) == ""


def prepared(root: Path, system: str, *options: str | Path, stdin: int | None = None) -> Path:
    """Return `root`, which prepare-root fills."""
    argv = [PREPARE_ROOT, root, "--system", system, "--quiet", *options]
    done = subprocess.run(argv, stdin=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return root


@contextmanager
def piped(file: Path) -> Iterator[int]:
    """The reading end of a pipe with the bytes of a file."""
    with subprocess.Popen(["cat", file], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        yield cat.stdout.fileno()
        cat.kill()


def shown(root: Path) -> dict[str, dict[str, object]]:
    """What a directory shows, without what differs from one file system to the next."""
    found = readback.walk(os.fsencode(root))
    for facts in found.values():
        for key in ("inode", "uid", "gid"):
            facts.pop(key, None)
    return found


def test_a_prepared_disk_equals_the_image(
    as_root: AsRoot, demo_system: str, tmp_path: Path
) -> None:
    """prepare-root as an installer runs it, on a mounted disk, against the image's file system."""
    image, disk = tmp_path / "image.raw", tmp_path / "disk.raw"
    command = COMMANDS
    options = ["--system", demo_system, "--quiet"]
    output(command / "assemble", "--out", image, *options)
    table = json.loads(output("/sbin/sfdisk", "--json", image))["partitiontable"]["partitions"]
    root = max(table, key=lambda part: part["start"])
    with disk.open("wb") as file:
        file.truncate(root["size"] * 512)
    output("/sbin/mke2fs", "-q", "-t", "ext4", disk)
    mounts = {image: tmp_path / "a", disk: tmp_path / "b"}
    try:
        for path, mount in mounts.items():
            mount.mkdir()
            where = f"loop,ro,offset={root['start'] * 512}" if path == image else "loop"
            as_root("mount", "-o", where, path, mount)
        as_root(
            "env", f"NIX_REMOTE={os.environ['NIX_REMOTE']}",
            command / "prepare-root", mounts[disk], *options,
        )  # fmt: skip
        found = [
            json.loads(as_root(sys.executable, Path(readback.__file__), mount).stdout)
            for mount in mounts.values()
        ]
    finally:
        for mount in mounts.values():
            as_root("umount", mount, check=False)
    for one in found:
        one[b"boot".hex()].pop("mtime")  # GRUB's files make it differ, and are the boot loader's
        for path in [path for path in one if bytes.fromhex(path).startswith(b"boot/")]:
            del one[path]
        for facts in one.values():
            facts.pop("inode", None)
    assert found[1] == found[0]
    assert os.geteuid() == UNPRIVILEGED
