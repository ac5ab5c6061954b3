"""The guestfs writer: any file system that the appliance's kernel can mount.

The tree travels on a second disk, an ext4 that the direct writer makes, with all owners in it;
the appliance makes the file system and its kernel copies from one to the other.
"""

import re
import shlex
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid5

from assembler import process
from assembler.appliance.accelerator import Accelerator
from assembler.appliance.mounts import TARGET, UNMOUNT, device, mount
from assembler.appliance.session import Appliance, Disk
from assembler.disk.ext4_size import smallest_ext4
from assembler.errors import HostError
from assembler.progress import Progress, Step
from assembler.root.tree import Node, Tree, show
from assembler.units import KIB, MIB, format_size
from assembler.writers import mke2fs
from assembler.writers.demand import measure
from assembler.writers.direct import DirectWriter
from assembler.writers.lanes import name_roots, payload_tree, share_out
from assembler.writers.protocol import FileSystem

_PAYLOAD = "/run/assemble/payload"  # where the second disk is mounted in the appliance
_LANES = 2

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
_XFS_SYMLINK = 1023  # bytes: XFS_SYMLINK_MAXLEN in Linux fs/xfs/libxfs/xfs_format.h, with its end
_COPIED = re.compile(r"assemble: copied (\d+)")


def tree_problems(kind: str, tree: Tree) -> list[str]:
    """What in a tree the file system cannot hold though ext4 can, one line each."""
    if kind != "xfs":
        return []
    return [
        f"{show(path)} is a symlink of {node.size} bytes; in XFS the longest has {_XFS_SYMLINK}"
        for path, node in tree.walk()
        if isinstance(node, Node) and node.kind == stat.S_IFLNK and node.size > _XFS_SYMLINK
    ]


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

    def write(self, image: Path, target: FileSystem, tree: Tree, progress: Progress) -> None:
        """Make `target`, which is partition `target.partition` of `image`, and fill it."""
        with process.scratch_directory("assemble-payload-") as scratch:
            payload = Path(scratch) / "payload"
            lanes = share_out(tree, _LANES)
            with progress.step("making the payload disk", total=target.data) as step:
                _make_payload(payload, target, payload_tree(tree, lanes), step)
            disks = [Disk(image), Disk(payload, read_only=True)]
            with Appliance(disks, self._accelerator, progress) as appliance:
                with progress.step(f"writing {target.kind}", total=target.data) as step:
                    _make(appliance, target)
                    _copy(appliance, target, [name for name, _ in name_roots(lanes)], step)
                if self._then is not None:
                    self._then(appliance)
                with progress.step(f"checking {target.kind}"):
                    _check(appliance, target)
                    appliance.shutdown()


def _make_payload(payload: Path, target: FileSystem, tree: Tree, step: Step) -> None:
    """Let the direct writer make the disk that the tree travels on, in a new file."""
    demand = measure(tree)
    size = smallest_ext4(demand.blocks, demand.inodes)
    with payload.open("wb") as file:
        file.truncate(size)
    made = replace(
        target,
        offset=0,
        size=size,
        inodes=demand.inodes,
        label="payload",
        uuid=uuid5(target.uuid, "payload"),  # the appliance shall not confuse the two
    )
    try:
        # Whether there is room is only known afterwards: with reflinks the data take none.
        DirectWriter().fill(payload, made, tree, step)
    except HostError as error:
        if shutil.disk_usage(payload.parent).free >= MIB:
            raise
        raise HostError(
            f"TMPDIR ({payload.parents[1]}) is full: the payload disk for the appliance takes "
            f"{format_size(demand.data)}; set TMPDIR to a directory with room"
        ) from error


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
    """Make the file system with its subvolumes, and mount it and the payload."""
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
    lines += [
        f"mkdir -p {_PAYLOAD}",
        "blockdev --setra 4096 /dev/vdb",  # 2 MiB: fewer, larger requests to the host
        f"mount -t ext4 -o ro,noatime,noload /dev/vdb {_PAYLOAD}",
    ]
    appliance.sh("\n".join(lines), what=f"making {target.kind} in the appliance")


def _copy(appliance: Appliance, target: FileSystem, names: list[str], step: Step) -> None:
    """Copy every lane of the payload at once, then the attributes of what they share."""
    done = 0

    def heard(line: str) -> None:
        nonlocal done
        if found := _COPIED.search(line):
            copied = min(int(found[1]), target.data)
            step.advance(max(0, copied - done))
            done = max(done, copied)

    *lanes, shared = names
    used = f"$(($(stat -f -c '%b - %f' {TARGET}) ))"
    block = f"$(stat -f -c %S {TARGET})"
    lines = [
        f"before={used}",
        f'while sleep 1; do echo "assemble: copied $((({used} - before) * {block}))" '
        "> /dev/console; done &",
        "watch=$!",
        "trap 'kill $watch' EXIT",
        "pids=",
        *(f'cp -a {_PAYLOAD}/{name}/. {TARGET}/ & pids="$pids $!"' for name in lanes),
        "for pid in $pids; do wait $pid || exit 1; done",
        # The lanes wrote into these after they had set their times.
        f"cp -a {_PAYLOAD}/{shared}/. {TARGET}/",
        f"umount {_PAYLOAD}",
        f"rmdir {_PAYLOAD}",
    ]
    appliance.sh("\n".join(lines), what="copying the tree in the appliance", heard=heard)


def _check(appliance: Appliance, target: FileSystem) -> None:
    """Unmount the file system and let its own checker read it."""
    check = f"{_CHECKS[target.kind]} {device(target.partition)}"
    said = "/run/assemble/said"  # only what goes to standard error is handed on
    lines = [*UNMOUNT, f"{check} > {said} 2>&1 || {{ cat {said} >&2; exit 1; }}"]
    appliance.sh("\n".join(lines), what=f"checking {target.kind} in the appliance")
