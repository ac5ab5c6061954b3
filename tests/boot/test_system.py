"""The system's own installer runs in its root, is heard, and fails with its last words."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from assembler.appliance.accelerator import Accelerator
from assembler.boot import system
from assembler.errors import HostError
from assembler.filesystems.ext4.kind import EXT4
from assembler.filesystems.guestfs.writer import GuestfsWriter
from assembler.filesystems.protocol import RootFileSystem
from assembler.host.progress import Progress
from assembler.tree.tree import Tree, regular, symlink
from assembler.units import MIB
from tests.support.helpers import output
from tests.support.places import REPOSITORY
from tests.support.trees import SEED, host_file

TOPLEVEL = "/nix/store/00000000000000000000000000000000-nixos-system-tiny"
MOUNT_POINTS = ("dev", "proc", "sys", "run", "tmp")

GOOD = b"""#!/bin/sh
set -e
echo "argument: $*"
echo "environment: $NIXOS_INSTALL_BOOTLOADER $HOME"
test -b /dev/vda
echo "sda is $(readlink /dev/sda), nvme0n1p3 $(readlink /dev/nvme0n1p3)"
test -r /proc/self/status && test -d /sys/block/vda
echo "a warning" >&2
echo "no newline at the end of {$1}" > /boot/marker
touch /run/left /tmp/left
printf %s "no newline"
"""
LEAVES_PROCESSES = b"""#!/bin/sh
sleep 3600 &
cd /dev
sleep 3600 < /dev/null > /dev/null 2>&1 &
echo done
"""
WITH_ESP = b"""#!/bin/sh
set -e
mkdir -p /boot/EFI/systemd
echo loader > /boot/EFI/systemd/loader
"""
BAD = b"""#!/bin/sh
for number in $(seq 40); do echo "line $number"; done
exit 7
"""


def install(
    image: Path, script: bytes, *, partition: int = 0, mounts: Sequence[tuple[str, int]] = ()
) -> None:
    """Write a root with an installer and a shell to `image`, and run the installer."""
    if not partition:
        with image.open("wb") as file:
            file.truncate(64 * MIB)
    tree = Tree()
    tree.add(
        b"/bin/busybox", host_file(REPOSITORY / "build/bootstrap/busybox")._replace(mode=0o755)
    )
    for name in (b"sh", b"readlink", b"seq", b"touch", b"mkdir", b"sleep"):
        tree.add(b"/bin/" + name, symlink(b"busybox"))
    for name in MOUNT_POINTS:
        tree.directory(b"/" + name.encode())
    tree.directory(b"/boot")
    tree.add(f"{TOPLEVEL}/bin/switch-to-configuration".encode(), regular(script, 0o755))
    target = RootFileSystem(
        offset=0,
        size=64 * MIB,
        inodes=200,
        label="test",
        uuid=SEED,
        hash_seed=SEED,
        epoch=1,
        partition=partition,
        data=2 * MIB,
    )
    run = partial(system.install, toplevel=TOPLEVEL, mounts=mounts, partitions=[1, 2, 3])
    with GuestfsWriter(EXT4, Accelerator.TCG, run).write(image, target, tree, Progress(quiet=True)):
        pass


def test_the_installer_runs_in_the_root(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, system.__name__)
    install(tmp_path / "image", GOOD)
    assert [record.message for record in caplog.records if record.name == system.__name__] == [
        "argument: boot",
        "environment: 1 /tmp",
        "sda is /dev/vda, nvme0n1p3 /dev/vda3",
        "a warning",
        "no newline",
    ]
    marker = output("/sbin/debugfs", "-R", "cat /boot/marker", tmp_path / "image")
    assert marker == b"no newline at the end of {boot}\n"
    for name in MOUNT_POINTS:
        listed = output("/sbin/debugfs", "-R", f"ls -p /{name}", tmp_path / "image").split()
        assert [line.split(b"/")[5] for line in listed] == [b".", b".."]


def test_an_installer_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(HostError) as failure:
        install(tmp_path / "image", BAD)
    first, *lines = str(failure.value).splitlines()
    assert first == (
        "installing the system's own boot loader: "
        f"{TOPLEVEL}/bin/switch-to-configuration failed with status 7"
    )
    assert lines == [f"  line {number}" for number in range(26, 41)]
    assert [one.name for one in tmp_path.iterdir()] == ["image"]


def test_a_system_without_an_installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(HostError, match=r"failed with status 127\n.*No such file or directory"):
        install(tmp_path / "image", b"#!/no/such/shell\n")


def test_what_an_installer_leaves_running_is_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With its output still open, or with its directory on what must be unmounted."""
    caplog.set_level(logging.INFO, system.__name__)
    install(tmp_path / "image", LEAVES_PROCESSES)
    assert [record.message for record in caplog.records if record.name == system.__name__] == [
        "done"
    ]


def test_the_efi_system_partition_is_mounted_where_it_belongs(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(110 * MIB)
    table = b"label: gpt\nstart=1MiB, size=40MiB, type=U\nstart=41MiB, size=64MiB, type=L\n"
    output("/sbin/sfdisk", "--quiet", image, stdin=table)
    output("/sbin/mkfs.fat", "-F", "32", "--offset", "2048", image, "40960")
    install(image, WITH_ESP, partition=2, mounts=[("/boot", 1)])
    assert output("mtype", "-i", f"{image}@@1M", "::EFI/systemd/loader") == b"loader\n"
