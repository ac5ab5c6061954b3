"""Read what a system mounts: /etc/fstab and the kernel parameters that name file systems.

Sources: fstab(5); kernel-command-line(7) and systemd-fstab-generator(8) for the parameters.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from assembler.boot.mounts.devices import Device, parse_device
from assembler.store.paths import AbsentError, Store

_ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")  # one byte: a space is \040
_WORDS = re.compile(r'(?:[^\s"]|"[^"]*"?)+')  # of a kernel's command line
_FATS = ("vfat", "msdos")
# File systems that are on no disk, or on no partition of a disk.
_WITHOUT_DISK = re.compile(
    r"none|tmpfs|ramfs|overlay|aufs|bind|proc|sysfs|devtmpfs|devpts|cgroup2?|hugetlbfs|mqueue"
    r"|debugfs|tracefs|securityfs|configfs|pstore|efivarfs|bpf|binfmt_misc|rpc_pipefs|nfsd?4?"
    r"|cifs|smb3|9p|virtiofs|ceph|glusterfs|afs|autofs|vboxsf|prl_fs|vmhgfs|fuse(?:\..*)?|.*fs\.fuse"
    r"|sshfs|davfs|bindfs|mergerfs|unionfs|squashfs|erofs|iso9660|udf"
)
_IN_MEMORY = re.compile("/dev/(?:zram|ram|loop)[0-9]")
_AUTOMATIC = ("gpt-auto", "gpt-auto-force")  # root=: systemd finds it by its partition's type
_BY_FSTAB = ("", "fstab")


@dataclass(frozen=True, slots=True)
class Mount:
    """One file system that a system mounts."""

    source: str  # the device as it is written, without fstab's escapes
    place: str  # without a slash at the end; `none` for swap
    kinds: tuple[str, ...] = ("auto",)  # the types that mount(8) tries
    options: tuple[str, ...] = ()
    parameter: str = ""  # the kernel parameter that asks for it; empty for a row of fstab

    def __str__(self) -> str:
        """The beginning of a sentence about it."""
        if self.parameter:
            return f"the kernel parameters ask for {self.parameter}"
        what = "swaps to" if self.is_swap else f"mounts {self.place} from"
        return f"the system {what} {self.source}"

    @property
    def device(self) -> Device:
        """How the device is named."""
        return parse_device(self.source)

    @property
    def is_swap(self) -> bool:
        """Whether it is room to swap to."""
        return self.kinds == ("swap",)

    @property
    def is_fat(self) -> bool:
        """Whether it may be a FAT."""
        return self.may_be(*_FATS)

    @property
    def is_bind(self) -> bool:
        """Whether `source` is a path of the system."""
        return not {"bind", "rbind"}.isdisjoint((*self.options, *self.kinds))

    @property
    def is_optional(self) -> bool:
        """Whether a machine comes up without it."""
        return not {"nofail", "noauto"}.isdisjoint(self.options)

    @property
    def is_on_disk(self) -> bool:
        """Whether there must be a disk for it."""
        if self.is_bind or all(map(_WITHOUT_DISK.fullmatch, self.kinds)):
            return False
        if self.source.startswith("/"):
            return self.source.startswith("/dev/") and not _IN_MEMORY.match(self.source)
        return True

    @property
    def subvolume(self) -> str | None:
        """The subvolume of a btrfs, empty for the top level; None for one by its number."""
        named = [one.removeprefix("subvol=") for one in self.options if one.startswith("subvol=")]
        numbered = [one for one in self.options if one.startswith("subvolid=")]
        if any(one not in ("subvolid=5", "subvolid=0") for one in numbered):
            return None
        return "/".join(filter(None, named[-1].split("/"))) if named else ""

    def may_be(self, *kinds: str) -> bool:
        """Whether mount(8) tries one of these types."""
        return not {"auto", *kinds}.isdisjoint(self.kinds)


def read_mounts(store: Store, system: str) -> list[Mount]:
    """The file systems in a toplevel's etc/fstab, in its order; none where it has no fstab."""
    try:
        file = store.resolve(f"{system}/etc/fstab")
        if not store.is_file(file):
            return []
        return parse_fstab(store.host(file).read_text(errors="surrogateescape"))
    except (OSError, AbsentError):
        return []


def parse_fstab(text: str) -> list[Mount]:
    """The rows of an fstab that have the first three fields."""
    mounts = []
    for line in (line.strip(" \t\r") for line in text.split("\n")):
        row = [_unescape(field) for field in re.split(r"[ \t\r]+", line)]
        if len(row) >= 3 and not line.startswith("#"):
            options = _split(row[3]) if len(row) > 3 else ()
            mounts.append(Mount(row[0], _place(row[1]), _split(row[2]), options))
    return mounts


def parameter_mounts(parameters: Sequence[str]) -> list[Mount]:
    """The file systems that kernel parameters ask for, the root first.

    A root that systemd finds by itself, as `root=fstab` and `gpt-auto`, is not among them.
    """
    mounts = []
    words = _words(parameters)
    root, types, flags = (_last(words, key) for key in ("root", "rootfstype", "rootflags"))
    if root is not None and root not in (*_BY_FSTAB, *_AUTOMATIC):
        kinds = _split(types or "auto")
        mounts.append(Mount(root, "/", kinds, _split(flags or ""), f"root={root}"))
        if root in ("tmpfs", "nfs", "/dev/nfs"):
            mounts[0] = Mount(root, "/", (root.removeprefix("/dev/"),), (), f"root={root}")
    if resume := _last(words, "resume"):
        mounts.append(Mount(resume, "none", ("swap",), parameter=f"resume={resume}"))
    if usr := _last(words, "mount.usr"):
        mounts.append(Mount(usr, "/usr", parameter=f"mount.usr={usr}"))
    for key, value in words:
        if key in ("systemd.mount-extra", "rd.systemd.mount-extra"):
            source, place, kind, options = [*value.split(":", 3), "", "", ""][:4]
            if place:
                kinds = _split(kind or "auto")
                mounts.append(
                    Mount(source, _place(place), kinds, _split(options), f"{key}={value}")
                )
    return mounts


def finds_root_by_type(parameters: Sequence[str]) -> bool:
    """Whether systemd is to find the root by the type of its partition."""
    return _last(_words(parameters), "root") in _AUTOMATIC


def _words(parameters: Sequence[str]) -> list[tuple[str, str]]:
    """Kernel parameters as keys and values, without the quotes that the kernel takes off."""
    words = [word.replace('"', "") for word in _WORDS.findall(" ".join(parameters))]
    return [(key, value) for key, _, value in (word.partition("=") for word in words)]


def _last(words: Sequence[tuple[str, str]], key: str) -> str | None:
    """The value that counts if a parameter appears more than once."""
    return next((value for name, value in reversed(words) if name == key), None)


def _place(text: str) -> str:
    """A path without doubled slashes, nor one at its end."""
    return re.sub("/+", "/", text).rstrip("/") or text[:1]


def _split(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _unescape(field: str) -> str:
    raw = field.encode(errors="surrogateescape")
    plain = _ESCAPE.sub(lambda code: bytes([int(code[1], 8)]), raw)
    return plain.decode(errors="surrogateescape")
