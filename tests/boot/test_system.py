"""The system's own installer runs in its root; its output is logged, and its failure reported.

All cases run in one appliance and one image: each is a system of its own with its installer.

Without these tests, an installer that fails, or leaves processes, can spoil an image unnoticed.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from assembler.appliance.accelerator import Accelerator
from assembler.appliance.session import Appliance
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

pytestmark = pytest.mark.emulated

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
NO_SHELL = b"#!/no/such/shell\n"
BAD = b"""#!/bin/sh
for number in $(seq 40); do echo "line $number"; done
exit 7
"""


# The last one has a FAT at /boot, which hides the files of the others.
INSTALLERS = {
    "good": GOOD,
    "bad": BAD,
    "no-shell": NO_SHELL,
    "leaves-processes": LEAVES_PROCESSES,
    "with-esp": WITH_ESP,
}
TABLE = b"label: gpt\nstart=1MiB, size=40MiB, type=U\nstart=41MiB, size=64MiB, type=L\n"


@dataclass(frozen=True)
class Installed:
    """What the installers left: an image, their output, and the errors that were raised."""

    image: Path
    output: dict[str, list[str]]
    errors: dict[str, str]

    def listing(self, directory: str) -> list[bytes]:
        """The names in a directory of the root."""
        lines = self.debugfs(f"ls -p {directory}").split()
        return [line.split(b"/")[5] for line in lines]

    def debugfs(self, command: str) -> bytes:
        return output("/sbin/debugfs", "-R", command, f"{self.image}?offset={41 * MIB}")


def toplevel(name: str) -> str:
    return f"/nix/store/{'0' * 32}-nixos-system-{name}"


def root() -> Tree:
    """A root with a shell, and a system for each installer."""
    tree = Tree()
    busybox = host_file(REPOSITORY / "build/bootstrap/busybox")._replace(mode=0o755)
    tree.add(b"/bin/busybox", busybox)
    for program in (b"sh", b"readlink", b"seq", b"touch", b"mkdir", b"sleep"):
        tree.add(b"/bin/" + program, symlink(b"busybox"))
    for place in (*MOUNT_POINTS, "boot"):
        tree.directory(b"/" + place.encode())
    for name, script in INSTALLERS.items():
        path = f"{toplevel(name)}/bin/switch-to-configuration"
        tree.add(path.encode(), regular(script, 0o755))
    return tree


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An image with a root and an ESP, in which every installer has run."""
    image = tmp_path_factory.mktemp("system") / "image"
    with image.open("wb") as file:
        file.truncate(110 * MIB)
    output("/sbin/sfdisk", "--quiet", image, stdin=TABLE)
    output("/sbin/mkfs.fat", "-F", "32", "--offset", "2048", image, "40960")
    target = RootFileSystem(
        offset=41 * MIB,
        size=64 * MIB,
        inodes=200,
        label="test",
        uuid=SEED,
        hash_seed=SEED,
        epoch=1,
        partition=2,
        data=2 * MIB,
    )
    made = Installed(image, {}, {})

    def run(appliance: Appliance) -> None:
        for name in INSTALLERS:
            mounts = [("/boot", 1)] if name == "with-esp" else []
            messages = _Messages()
            system.log.addHandler(messages)
            system.log.setLevel(logging.INFO)
            try:
                system.install(appliance, toplevel(name), mounts=mounts, partitions=[1, 2, 3])
            except HostError as error:
                made.errors[name] = str(error)
            finally:
                system.log.removeHandler(messages)
                system.log.setLevel(logging.NOTSET)
            made.output[name] = messages.lines

    writer = GuestfsWriter(EXT4, Accelerator.TCG, run)
    with writer.write(image, target, root(), Progress(quiet=True)):
        pass
    return made


class _Messages(logging.Handler):
    """Keeps all messages."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_the_installer_runs_in_the_root(installed: Installed) -> None:
    assert installed.output["good"] == [
        "argument: boot",
        "environment: 1 /tmp",
        "sda is /dev/vda, nvme0n1p3 /dev/vda3",
        "a warning",
        "no newline",
    ]
    assert "good" not in installed.errors
    assert installed.debugfs("cat /boot/marker") == b"no newline at the end of {boot}\n"


def test_what_it_writes_to_memory_is_not_in_the_image(installed: Installed) -> None:
    for name in MOUNT_POINTS:
        assert installed.listing(f"/{name}") == [b".", b".."]


def test_an_installer_that_fails(installed: Installed) -> None:
    """Its status and its last lines are the error; test_guestfs_writer.py: nothing is left."""
    first, *lines = installed.errors["bad"].splitlines()
    assert first == (
        "installing the system's own boot loader: "
        f"{toplevel('bad')}/bin/switch-to-configuration failed with status 7"
    )
    assert lines == [f"  line {number}" for number in range(26, 41)]


def test_an_installer_that_cannot_be_started(installed: Installed) -> None:
    first, *lines = installed.errors["no-shell"].splitlines()
    assert first.endswith("failed with status 127")
    assert "No such file or directory" in lines[0]


def test_what_an_installer_leaves_running_is_ended(installed: Installed) -> None:
    """With its output still open, or with its directory on what must be unmounted."""
    assert installed.output["leaves-processes"] == ["done"]
    assert "leaves-processes" not in installed.errors


def test_the_efi_system_partition_is_mounted_where_it_belongs(installed: Installed) -> None:
    content = output("mtype", "-i", f"{installed.image}@@1M", "::EFI/systemd/loader")
    assert content == b"loader\n"
