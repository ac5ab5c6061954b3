"""The guestfs writer: any file system that the appliance's kernel can mount.

The tree is on a second disk, as a tar archive in which everything has its owner already; the
appliance makes the file system and unpacks the archive.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tarfile import BLOCKSIZE

from assembler.appliance.accelerator import Accelerator
from assembler.appliance.mounts import TARGET, UNMOUNT, device, disk, mount
from assembler.appliance.session import Appliance, AttachedDisk
from assembler.copying.sender import NO_HASHING, Hashing
from assembler.filesystems.ext4 import mke2fs
from assembler.filesystems.guestfs.archive import RECORD
from assembler.filesystems.guestfs.payload import write_payload
from assembler.filesystems.protocol import FileSystem
from assembler.host.progress import Progress, Step
from assembler.host.room import temporary, watched
from assembler.host.scratch import scratch_directory
from assembler.host.temporary import temporary_directory
from assembler.tree.tree import Tree
from assembler.units import KIB, MIB

# GNU tar: a symlink is made at once, wherever it leads; times may lie in any year, and tar need not
# know the keyword hdrcharset in pax headers. tar only warns when it cannot set an xattr, so any
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

# How each file system is made, what it is mounted with while it is filled, and how it is checked.
_OPTIONS = {
    "ext4": "noatime,nobarrier,data=writeback,noauto_da_alloc",
    "btrfs": "noatime,nobarrier",
    "xfs": "noatime",
    "f2fs": "noatime",
}
_CHECKS = {
    "ext4": "e2fsck -fn",
    "btrfs": "btrfs check --readonly",
    "xfs": "xfs_repair -n",
    "f2fs": "fsck.f2fs --dry-run",
}
_COPIED = re.compile(r"assemble: copied (\d+)")


class GuestfsWriter:
    """Writes ext4, btrfs, xfs and f2fs in an appliance; see `protocol.Writer`.

    `then` is called when the tree is in the image, which the appliance has mounted at TARGET.
    """

    def __init__(
        self,
        accelerator: Accelerator = Accelerator.AUTO,
        then: Callable[[Appliance], None] | None = None,
    ) -> None:
        self._accelerator, self._then = accelerator, then

    @contextmanager
    def write(
        self,
        image: Path,
        target: FileSystem,
        tree: Tree,
        progress: Progress,
        hashing: Hashing = NO_HASHING,
    ) -> Iterator[Mapping[str, str]]:
        """Make `target`, which is partition `target.partition` of `image`, and fill it."""
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
                with progress.step(f"writing {target.kind}", total=target.data) as step:
                    _make(appliance, target)
                    _unpack(appliance, target, step)
                if self._then is not None:
                    self._then(appliance)
                with progress.step(f"checking {target.kind}"):
                    _check(appliance, target)
                    appliance.shutdown()


def mkfs(target: FileSystem) -> str:
    """The shell command that makes `target`, named as asked as far as its mkfs allows."""
    label, uuid, where = shlex.quote(target.label), target.uuid, device(target.partition)
    match target.kind:
        case "ext4":
            options = mke2fs.options(
                size=target.size,
                inodes=target.inodes,
                label=target.label,
                uuid=target.uuid,
                hash_seed=target.hash_seed,
            )
            epoch = f"E2FSPROGS_FAKE_TIME={max(1, target.epoch)}"
            return f"{epoch} mke2fs {shlex.join(options)} {where} {target.size // KIB}k"
        case "btrfs":
            return f"mkfs.btrfs -q -f -K -L {label} -U {uuid} {where}"
        case "xfs":
            # GRUB 2.06 does not read large extent counts; releases of mkfs.xfs that do not know
            # them either do not know the option.
            make = f"mkfs.xfs -q -f -K -L {label} -m uuid={uuid}"
            return f"{make} -i nrext64=0 {where} 2>/dev/null || {make} {where}"
        case _:
            return f"mkfs.f2fs -q -f -t 0 -l {label} -U {uuid} {where}"


# What the appliance says of a kernel without the file system $kind.
_OTHERS = (
    f'for one in {" ".join(_CHECKS)}; do ! modprobe -q $one || others="$others $one"; done; '
    'echo "the appliance has no $kind; it has$others" >&2'
)


def _make(appliance: Appliance, target: FileSystem) -> None:
    """Make the file system with its subvolumes, and mount it."""
    lines = [
        f"kind={target.kind}; modprobe $kind 2>/dev/null || :",
        f"grep -qw {target.kind} /proc/filesystems || {{ {_OTHERS}; exit 1; }}",
        mkfs(target),
    ]
    if target.subvolumes:
        top = "/run/assemble/top"
        lines += [f"mkdir -p {top}", f"mount -t btrfs {device(target.partition)} {top}"]
        lines += [
            f"btrfs -q subvolume create {shlex.quote(f'{top}/{name}')}"
            for name, _ in target.subvolumes
        ]
        lines += [f"umount {top}"]
    lines += mount(target.partition, target.kind, target.subvolumes, _OPTIONS[target.kind])
    appliance.sh("\n".join(lines), what=f"making {target.kind} in the appliance")


def _unpack(appliance: Appliance, target: FileSystem, step: Step) -> None:
    """Unpack the archive."""
    done = 0

    def heard(line: str) -> None:
        nonlocal done
        if found := _COPIED.search(line):
            copied = min(int(found[1]), target.data)
            step.advance(max(0, copied - done))
            done = max(done, copied)

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
    appliance.sh("\n".join(lines), what="unpacking the tree in the appliance", on_line=heard)


def _check(appliance: Appliance, target: FileSystem) -> None:
    """Unmount the file system and let its own checker read it."""
    check = f"{_CHECKS[target.kind]} {device(target.partition)}"
    said = "/run/assemble/said"  # only what goes to standard error is handed on
    lines = [*UNMOUNT, f"{check} > {said} 2>&1 || {{ cat {said} >&2; exit 1; }}"]
    appliance.sh("\n".join(lines), what=f"checking {target.kind} in the appliance")
