"""A kind of file system: every fact about it that another room needs.

Each kind has one file, or one folder, beside this one, and one line in `registry.py`.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from assembler.filesystems.demand import Demand
from assembler.filesystems.limits import Limits
from assembler.filesystems.protocol import RootFileSystem, Subvolume, Writer
from assembler.tree.tree import Tree, Xattrs

Magic = tuple[int, bytes]  # where in the file system (bytes), and what is there


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A file system that this program makes, or reads in an image."""

    name: str  # as mount(8), Linux and its module call it
    title: str  # in messages to people
    magics: tuple[Magic, ...]  # it has one of them
    grub_module: str  # the module of GRUB that reads it
    label_bytes: int  # in the longest label
    label_form: re.Pattern[str] | None = None  # None: any label that is short enough
    label_rule: str = ""  # `label_form` in words

    def label_fault(self, label: str) -> str:
        """Why it cannot have a label, in words; empty where it can."""
        fits = len(os.fsencode(label)) <= self.label_bytes
        if fits and (self.label_form is None or self.label_form.fullmatch(label)):
            return ""
        return (
            f"a label of {self.title} has {self.label_rule or f'at most {self.label_bytes} bytes'}"
        )


class Size(NamedTuple):
    """The size of a root file system in bytes, and the inodes that are free when it is made."""

    bytes: int
    inodes: int


class Sizes(Protocol):
    """How large a root file system must be. Sizes are in bytes."""

    @property
    def inode(self) -> int:
        """What an inode takes on the disk besides its blocks."""

    def least(self, demand: Demand) -> int:
        """The size below which a tree of that demand does not fit; a whole number of MiB."""

    def with_free(self, demand: Demand, free: int) -> Size:
        """The size for a tree and `free` bytes besides; a whole number of MiB."""

    def within(self, demand: Demand, room: int) -> Size:
        """The largest for a tree in `room` bytes, which are not less than `least`."""


def holds_all(_tree: Tree, _subvolumes: Sequence[Subvolume]) -> list[str]:
    """The `tree_problems` of a kind that holds all that a Tree can have within its limits."""
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class RootKind(Kind):
    """A kind of file system that can be the root of a system.

    `make` gives the shell commands that make one on a device of the appliance, subvolumes
    included. `check` is the command that reads it there and changes nothing; the device is its
    last argument. `tree_problems` gives one line for each thing in a Tree that it cannot hold for
    another reason than its limits.
    """

    limits: Limits
    sizes: Sizes
    make: Callable[[RootFileSystem, str], list[str]]
    mount_options: str  # while it is filled
    check: str
    appliance_package: str  # of Debian, with which an appliance has mkfs.`name`
    tree_problems: Callable[[Tree, Sequence[Subvolume]], list[str]] = holds_all
    has_subvolumes: bool = False
    has_fixed_inodes: bool = False  # whether it never has more inodes than at first
    # Which bytes of an image one uses that `direct` has made; None: any.
    used: Callable[[Path, RootFileSystem], Iterator[range]] | None = None
    direct: Writer | None = None  # what makes it without an appliance, if anything does

    def problems(
        self, tree: Tree, demand: Demand, subvolumes: Sequence[Subvolume] = ()
    ) -> list[str]:
        """One line for each thing in a Tree that it cannot hold; `demand` is that of the tree."""
        beyond = self.limits.tree_problems(self.title, tree, demand)
        return beyond + self.tree_problems(tree, subvolumes)

    def xattr_problems(self, xattrs: Xattrs) -> list[str]:
        """One line for each reason why a file in it cannot have these xattrs."""
        return self.limits.xattr_problems(self.title, xattrs)
