"""Let the target system install its own boot loader, in a chroot inside an appliance."""

import logging
import shlex
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from assembler.appliance.mounts import DISK, TARGET, device
from assembler.appliance.session import Appliance
from assembler.boot.installer import SWITCH, Installer
from assembler.boot.no_loader import NoLoader
from assembler.boot.protocol import BootLoader, BootTarget
from assembler.boot.volumes import Role, Volume
from assembler.disk.layout import Layout
from assembler.errors import HostError, Message, Setting

log = logging.getLogger(__name__)

_TAIL_LINES = 15
_MARK = "assemble: installer: "
_STATUS = "/run/assemble/status"
# Names that the target's configuration may use for its disk; as in nixpkgs' make-disk-image, all
# but the true one are links.
_ALIASES = {"/dev/sda": "", "/dev/xvda": "", "/dev/hda": "", "/dev/nvme0n1": "p"}
_ENVIRONMENT = "NIXOS_INSTALL_BOOTLOADER=1 HOME=/tmp LC_ALL=C TERM=dumb"


@dataclass(frozen=True, slots=True)
class SystemInstaller(BootLoader):
    """Whatever boot loader the system's own installer puts onto the disk."""

    name: ClassVar[str] = "system"
    has_installer: ClassVar[bool] = True

    system: str  # the toplevel

    @classmethod
    def installer_problems(cls, installer: Installer) -> list[str]:
        """Why the system's own installer would leave a disk that does not boot."""
        if not installer.has_switch:
            why = f"the system has no {SWITCH} to run"
        elif installer.loader == NoLoader.name:
            why = "the system is configured without a boot loader"
        elif not installer.starts_disk:
            why = f"what {installer.loader} installs does not start a disk"
        else:
            return []
        own, grub = Setting("boot_loader", cls.name), Setting("boot_loader", "grub")
        or_none = ", or none if something else starts the disk"
        return [Message(own, f": {why}: take ", grub, or_none)]

    @classmethod
    def find(cls, target: BootTarget) -> Self:
        """Nothing is looked up: the installer brings what it needs."""
        return cls(target.system)

    def run_installer(
        self, appliance: Appliance, layout: Layout, volumes: Mapping[Role, Volume]
    ) -> None:
        """Run it in the root that is mounted at TARGET, with the FATs mounted in that."""
        mounts = [
            (volume.place, partition.number)
            for role, volume in volumes.items()
            if role is not Role.ROOT and volume.place and (partition := role.of(layout))
        ]
        numbers = [partition.number for partition in layout.partitions]
        install(appliance, self.system, mounts=mounts, partitions=numbers)


def install(
    appliance: Appliance,
    toplevel: str,
    *,
    mounts: Sequence[tuple[str, int]],
    partitions: Sequence[int],
) -> None:
    """Run `<toplevel>/bin/switch-to-configuration boot` in the root that is mounted at TARGET.

    The disk is /dev/vda there, and by links the usual other names. `mounts` are (place, partition
    number) pairs of the FAT file systems to mount. The output of the installer is logged line by
    line (level INFO). Raises HostError with its last lines if it fails.
    """
    last: deque[str] = deque(maxlen=_TAIL_LINES)

    def show(line: str) -> None:
        if line.startswith(_MARK):
            last.append(line.removeprefix(_MARK))
            log.info("%s", last[-1])

    what = "installing the system's own boot loader"
    appliance.sh(_preparation(mounts, partitions), what=what)
    appliance.sh(_run(toplevel), what=what, on_line=show)
    status = appliance.sh(f"cat {_STATUS}", what=what).strip()
    appliance.sh(_CLEAN_UP, what=f"clearing up after {what}")
    if status != "0":
        lines = [f"{what}: {toplevel}/bin/switch-to-configuration failed with status {status}"]
        raise HostError(*lines, *(f"  {line}" for line in last))


def _preparation(mounts: Sequence[tuple[str, int]], partitions: Sequence[int]) -> str:
    """Mount what an installer expects; /run and /tmp are in memory, so nothing remains of them."""
    lines = []
    for alias, infix in _ALIASES.items():
        lines.append(f"ln -sfn {DISK} {alias}")
        lines += [f"ln -sfn {device(n)} {alias}{infix}{n}" for n in partitions]
    lines += [
        f"mount --rbind /dev {TARGET}/dev",
        f"mount -t proc proc {TARGET}/proc",
        f"mount -t sysfs sysfs {TARGET}/sys",
        f"mount -t tmpfs tmpfs {TARGET}/run",
        f"mount -t tmpfs tmpfs {TARGET}/tmp",
    ]
    for place, number in sorted(mounts):  # what is above comes first
        where = shlex.quote(f"{TARGET}{place}")
        lines += [f"mkdir -p {where}", f"mount -t vfat {device(number)} {where}"]
    return "\n".join(lines)


def _run(toplevel: str) -> str:
    """Run the installer; its words go to the console line by line, its status into a file."""
    program = shlex.quote(f"{toplevel}/bin/switch-to-configuration")
    command = f'env -i {_ENVIRONMENT} "$(command -v chroot)" {TARGET} {program} boot'
    say = f"printf '{_MARK}%s\\n' \"$line\" > /dev/console"
    return (
        f"{{ status=0; {command} < /dev/null || status=$?; echo $status > {_STATUS}; "
        f"{_END_OTHERS}; }} 2>&1 | "
        f'while IFS= read -r line || test -n "$line"; do {say}; done'
    )


# A process that an installer leaves behind would keep its output and the file systems open.
_END_OTHERS = (
    f"find /proc/[0-9]*/root -maxdepth 0 -lname '{TARGET}*' 2>/dev/null | "
    "while IFS=/ read -r _ _ pid _; do kill -9 $pid; done"
)
_CLEAN_UP = (
    "for place in dev proc sys run tmp; do "
    f"umount -R {TARGET}/$place 2>/dev/null || {{ sleep 1; umount -R {TARGET}/$place; }}; done"
)
