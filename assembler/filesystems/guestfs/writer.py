"""The guestfs writer: makes any file system that the appliance's kernel can mount.

The tree is on a second disk, as a tar archive in which everything has its owner already; the
appliance makes the file system and unpacks the archive.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tarfile import BLOCKSIZE

from assembler.appliance import kernels
from assembler.appliance.accelerator import Accelerator
from assembler.appliance.mounts import TARGET, UNMOUNT, device, disk, mount
from assembler.appliance.session import Appliance, AttachedDisk
from assembler.copying.sender import NO_HASHING, Hashing
from assembler.filesystems.guestfs.archive import RECORD
from assembler.filesystems.guestfs.payload import write_payload
from assembler.filesystems.kind import RootKind
from assembler.filesystems.protocol import RootFileSystem
from assembler.filesystems.registry import ROOT_KINDS
from assembler.host.progress import Progress, Step
from assembler.host.room import temporary, watched
from assembler.host.scratch import scratch_directory
from assembler.host.temporary import temporary_directory
from assembler.tree.tree import Tree
from assembler.units import KIB, MIB

# GNU tar: a symlink is made at once, wherever it leads; times may lie in any year, and the keyword
# hdrcharset in pax headers may be unknown. tar only warns when it cannot set an xattr, so any
# output is treated as failure.
_UNPACK = (
    "errors=/run/assemble/tar-errors",
    f"tar --extract --blocking-factor={RECORD // BLOCKSIZE} --directory={TARGET} --absolute-names "
    "--numeric-owner --same-owner --same-permissions --xattrs --xattrs-include='*' "
    f"--warning=no-timestamp --warning=no-unknown-keyword --file {disk(1)} 2> $errors || "
    'echo "tar failed with status $?" >> $errors',
    "cat $errors >&2",
    "test ! -s $errors",
)
_READ_AHEAD = 2 * MIB  # bytes: fewer, larger requests to the host
_PER_INODE = 2 * KIB  # bytes of memory that a checker may take for each inode

_COPIED = re.compile(r"assemble: copied (\d+)")


class GuestfsWriter:
    """Writes a root file system of any kind in an appliance; see `protocol.Writer`.

    `then` is called once the tree is in the image, while the appliance has it mounted at TARGET.
    """

    def __init__(
        self,
        kind: RootKind,
        accelerator: Accelerator = Accelerator.AUTO,
        then: Callable[[Appliance], None] | None = None,
    ) -> None:
        self._kind, self._accelerator, self._then = kind, accelerator, then

    def problems(self) -> list[str]:
        """One line if no kernel of this host, which the appliance runs, has such a file system."""
        return kernels.problems(self._kind.name, ROOT_KINDS)

    @contextmanager
    def write(
        self,
        image: Path,
        target: RootFileSystem,
        tree: Tree,
        progress: Progress,
        hashing: Hashing = NO_HASHING,
    ) -> Iterator[Mapping[str, str]]:
        """Make `target`, which is partition `target.partition` of `image`, and fill it."""
        kind = self._kind
        with scratch_directory() as scratch:
            payload = Path(scratch) / "payload"
            tmp = temporary(temporary_directory(), target.data)
            with progress.step("making the payload", total=target.data) as step, watched(tmp):
                sender = write_payload(payload, tree, step, hashing)
            yield sender.hashes
            with watched(tmp):
                sender.send_last()
            disks = [
                AttachedDisk(image, sector_size=target.sector_size),
                AttachedDisk(payload, read_only=True),
            ]
            memory = target.inodes * _PER_INODE
            with Appliance(disks, self._accelerator, progress, memory=memory) as appliance:
                with progress.step(f"writing {kind.name}", total=target.data) as step:
                    _make(appliance, kind, target)
                    _unpack(appliance, target, step)
                if self._then is not None:
                    self._then(appliance)
                with progress.step(f"checking {kind.name}"):
                    _check(appliance, kind, target)
                    appliance.shutdown()


def _missing(kind: RootKind) -> str:
    """Shell commands that report a file system the appliance lacks, and those that it has."""
    return (
        f'for one in {" ".join(ROOT_KINDS)}; do ! modprobe -q $one || others="$others $one"; done; '
        f'echo "the appliance has no {kind.name}; it has$others" >&2'
    )


def mkfs_check(kind: RootKind) -> str:
    """A shell command that fails, with the remedy, if there is no program to make a kind."""
    mkfs = f"mkfs.{kind.name}"
    remedy = f"install {kind.appliance_package} (Debian)"
    report = f'echo "the appliance has no {mkfs}: {remedy}" >&2'
    return f"command -v {mkfs} > /dev/null || {{ {report}; exit 1; }}"


def _make(appliance: Appliance, kind: RootKind, target: RootFileSystem) -> None:
    """Make the file system with its subvolumes, and mount it."""
    lines = [
        f"modprobe {kind.name} 2>/dev/null || :",
        f"grep -qw {kind.name} /proc/filesystems || {{ {_missing(kind)}; exit 1; }}",
        mkfs_check(kind),
        *kind.make(target, device(target.partition)),
        *mount(target.partition, kind.name, target.subvolumes, kind.mount_options),
    ]
    appliance.sh("\n".join(lines), what=f"making {kind.name} in the appliance")


def _unpack(appliance: Appliance, target: RootFileSystem, step: Step) -> None:
    """Unpack the archive; each second the appliance reports how much the file system holds."""

    def advance(line: str) -> None:
        if found := _COPIED.search(line):
            step.reach(min(int(found[1]), target.data))

    used = f"$(($(stat -f -c '%b - %f' {TARGET}) ))"
    block = f"$(stat -f -c %S {TARGET})"
    lines = [
        f"blockdev --setra {_READ_AHEAD // 512} {disk(1)}",
        f"before={used}",
        f'while sleep 1; do echo "assemble: copied $((({used} - before) * {block}))" '
        "> /dev/console; done > /dev/null 2>&1 &",
        "watch=$!",
        "trap 'kill $watch' EXIT",
        *_UNPACK,
    ]
    appliance.sh("\n".join(lines), what="unpacking the tree in the appliance", on_line=advance)


def _check(appliance: Appliance, kind: RootKind, target: RootFileSystem) -> None:
    """Unmount the file system and run its own checker."""
    check = f"{kind.check} {device(target.partition)}"
    output = "/run/assemble/output"  # only standard error reaches the host
    lines = [*UNMOUNT, f"{check} > {output} 2>&1 || {{ cat {output} >&2; exit 1; }}"]
    appliance.sh("\n".join(lines), what=f"checking {kind.name} in the appliance")
