"""The direct writer: e2fsck, debugfs, GRUB and the kernel read what it writes.

Without these tests, files can change or get lost on their way into the image.
"""

import itertools
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assembler.copying.copier import Copier
from assembler.errors import HostError
from assembler.filesystems.demand import measure
from assembler.filesystems.ext4.writer import index_directories
from assembler.host.progress import Step
from assembler.tree.tree import Directory, Tree, regular, symlink
from assembler.units import BLOCK, MIB
from tests.support import readback
from tests.support.clock import wait_for_tick
from tests.support.places import AsRoot
from tests.support.trees import OFFSET, every_kind, expected, host_file, parse, write_image


def e2fsck(image: Path) -> None:
    done = subprocess.run(
        ["/sbin/e2fsck", "-fn", f"{image}?offset={OFFSET}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def debugfs(image: Path, *requests: str) -> str:
    script = "\n".join(requests)
    command = ["/sbin/debugfs", "-f", "-", f"{image}?offset={OFFSET}"]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=True).stdout


_NUMBERS = itertools.count()


@contextmanager
def mounted(as_root: AsRoot, image: Path, directory: Path) -> Iterator[Path]:
    """Mount the ext4 in an image with the kernel's driver, which only root may do."""
    directory.mkdir(exist_ok=True)
    as_root("mount", "-o", f"loop,ro,noload,offset={OFFSET}", image, directory)
    try:
        yield directory
    finally:
        as_root("umount", directory)


def read_back(as_root: AsRoot, image: Path, directory: Path) -> str:
    # Another name each time: a loop device that is still being detached would show the old content.
    image = image.rename(image.with_name(f"image-{next(_NUMBERS)}"))
    with mounted(as_root, image, directory) as mount:
        return as_root(sys.executable, Path(readback.__file__), mount).stdout


def test_every_kind_passes_e2fsck(tmp_path: Path) -> None:
    write_image(tmp_path / "image", every_kind(tmp_path))
    e2fsck(tmp_path / "image")


def test_every_kind_is_what_the_kernel_reads(tmp_path: Path, as_root: AsRoot) -> None:
    tree = every_kind(tmp_path)
    write_image(tmp_path / "image", tree)
    found, groups = parse(read_back(as_root, tmp_path / "image", tmp_path / "mount"))
    assert found == expected(tree)
    names = (b"hard/one", b"hard/two", b"elsewhere/three")
    assert groups == [{name.hex() for name in names}]


def test_holes_take_no_blocks(tmp_path: Path) -> None:
    write_image(tmp_path / "image", every_kind(tmp_path))
    stat = debugfs(tmp_path / "image", "stat /sparse/all-hole", "stat /sparse/over-4-gib")
    assert "Blockcount: 0\n" in stat
    assert "Blockcount: 16\n" in stat  # two blocks of 4096 bytes, counted in sectors
    assert "Size: 5368709125" in stat


def test_content_without_a_mount(tmp_path: Path) -> None:
    """debugfs dumps the source again: a check that needs no mount."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 * MIB + 123))
    tree = Tree()
    tree.add(b"/a/file", host_file(source))
    tree.add(b"/a/literal", regular(b"text"))
    write_image(tmp_path / "image", tree)
    debugfs(tmp_path / "image", f"dump /a/file {tmp_path}/out", f"dump /a/literal {tmp_path}/text")
    assert (tmp_path / "out").read_bytes() == source.read_bytes()
    assert (tmp_path / "text").read_bytes() == b"text"


def test_large_directories_are_indexed(tmp_path: Path) -> None:
    write_image(tmp_path / "image", every_kind(tmp_path))
    assert "Root node dump" in debugfs(tmp_path / "image", "htree_dump /many")


def test_grub_reads_it(tmp_path: Path) -> None:
    source = tmp_path / "kernel"
    source.write_bytes(os.urandom(9 * MIB + 17))
    tree = Tree()
    for index in range(2000):
        tree.add(b"/nix/store/path-%d" % index, Directory())
    tree.add(b"/nix/store/path-777/bzImage", host_file(source))
    write_image(tmp_path / "image", tree)
    bare = tmp_path / "bare"
    bare.write_bytes((tmp_path / "image").read_bytes()[OFFSET:])
    command = ["grub-fstest", str(bare), "cmp", "(loop0)/nix/store/path-777/bzImage", str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_same_tree_same_bytes_at_another_time(tmp_path: Path) -> None:
    tree = every_kind(tmp_path)
    write_image(tmp_path / "one", tree)
    wait_for_tick()  # the time of the clock must not get into the image
    write_image(tmp_path / "two", tree)
    done = subprocess.run(["cmp", tmp_path / "one", tmp_path / "two"], capture_output=True)
    assert done.returncode == 0, done.stdout


def test_the_hosts_e2fsck_conf_changes_nothing(tmp_path: Path, as_root: AsRoot) -> None:
    """Written in a mount namespace where /etc/e2fsck.conf sets loosely packed directories."""
    tree = every_kind(tmp_path)
    write_image(tmp_path / "one", tree)
    etc = tmp_path / "etc"
    as_root("cp", "-a", "/etc", etc)
    config = "[options]\nindexed_dir_slack_percentage = 60\nreport_verbose = 1\n"
    as_root("sh", "-c", f"printf '{config}' > {shlex.quote(str(etc))}/e2fsck.conf")
    image = tmp_path / "two"
    shutil.copy(tmp_path / "one", image)
    code = (
        "import sys; from pathlib import Path; from assembler.filesystems.ext4.writer import *;"
        "index_directories(Path(sys.argv[1]), int(sys.argv[2]), 1)"
    )
    again = shlex.join([sys.executable, "-c", code, str(image), str(OFFSET)])
    mount = f"mount --bind {shlex.quote(str(etc))} /etc"
    as_root("unshare", "--mount", "sh", "-c", f"{mount} && {again}")
    as_root("rm", "-rf", etc)
    index_directories(tmp_path / "one", OFFSET, 1)
    assert subprocess.run(["cmp", tmp_path / "one", image]).returncode == 0


def test_directory_of_100_000_entries(tmp_path: Path) -> None:
    tree = Tree()
    directory = tree.directory(b"/big")
    for index in range(100_000):
        directory.children[b"a file with quite a long name, number %d" % index] = regular(b"")
    write_image(tmp_path / "image", tree, size=256 * MIB)
    e2fsck(tmp_path / "image")


def test_more_subdirectories_than_links(tmp_path: Path) -> None:
    """Beyond 65,000 subdirectories (feature dir_nlink) a link count is 1, for "many"."""
    tree = Tree()
    directory = tree.directory(b"/big")
    for index in range(65_100):
        directory.children[b"%d" % index] = Directory()
    write_image(tmp_path / "image", tree, size=512 * MIB)
    e2fsck(tmp_path / "image")


def test_fragmented_free_space(tmp_path: Path) -> None:
    """The metadata of block groups splits large files, which then need extent blocks."""
    source = tmp_path / "big"
    with source.open("wb") as file:
        file.write(os.urandom(MIB))
        file.seek(260 * MIB)
        file.write(b"end")
    tree = Tree()
    tree.add(b"/big", host_file(source))  # not marked sparse: all of it gets blocks
    write_image(tmp_path / "image", tree, size=320 * MIB)
    e2fsck(tmp_path / "image")
    debugfs(tmp_path / "image", f"dump /big {tmp_path}/out")
    assert subprocess.run(["cmp", source, tmp_path / "out"]).returncode == 0


def test_full_file_system_says_so(tmp_path: Path) -> None:
    tree = Tree()
    tree.add(b"/big", regular(b"x" * (40 * MIB)))
    with pytest.raises(HostError, match="writing ext4: allocating blocks"):
        write_image(tmp_path / "image", tree, size=32 * MIB)


def test_a_file_that_shrinks_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 100_000)
    node = host_file(source)
    source.write_bytes(b"x" * 10)
    tree = Tree()
    tree.add(b"/file", node)
    with pytest.raises(HostError, match=f"{source}: it became shorter"):
        write_image(tmp_path / "image", tree)


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    node = host_file(source)
    source.unlink()
    tree = Tree()
    tree.add(b"/file", node)
    with pytest.raises(HostError, match=f"{source}: No such file"):
        write_image(tmp_path / "image", tree)


def test_an_interrupted_copier_leaves_no_process(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"")
    with pytest.raises(KeyboardInterrupt), Copier(image, Step(None)) as copier:
        pids = copier.pids
        raise KeyboardInterrupt
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


_names = st.binary(min_size=1, max_size=255).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..", b"lost+found")
)
_files = st.builds(regular, st.binary(max_size=3 * BLOCK), st.integers(0, 0o7777))
_links = st.builds(symlink, st.binary(min_size=1, max_size=300).filter(lambda t: b"\0" not in t))
_trees = st.recursive(
    _files | _links,
    lambda children: st.dictionaries(_names, children, max_size=12),
    max_leaves=60,
)


def _fill(directory: Directory, shape: dict[bytes, object]) -> None:
    for name, child in shape.items():
        if isinstance(child, dict):
            below = directory.children[name] = Directory()
            _fill(below, child)
        else:
            directory.children[name] = child  # type: ignore[assignment]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.dictionaries(_names, _trees, max_size=12))
def test_any_tree_is_what_the_kernel_reads(
    shape: dict[bytes, object], tmp_path: Path, as_root: AsRoot
) -> None:
    tree = Tree()
    _fill(tree.root, shape)
    write_image(tmp_path / "image", tree, size=16 * MIB)
    e2fsck(tmp_path / "image")
    found, _ = parse(read_back(as_root, tmp_path / "image", tmp_path / "mount"))
    assert found == expected(tree)


@settings(max_examples=40)
@given(st.lists(_names, max_size=400, unique=True))
def test_demand_is_never_less_than_what_is_used(names: list[bytes]) -> None:
    tree = Tree()
    for name in names:
        tree.root.children[name] = Directory()
    assert measure(tree).inodes == len(names) + 1
    assert measure(tree).blocks >= len(names) + 1
