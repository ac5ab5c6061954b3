"""An entry of a menu, with what is known of its files once it was checked."""

from dataclasses import dataclass

from assembler.check.grub.menu import Load


@dataclass(frozen=True, slots=True)
class Offer:
    """An entry of a menu."""

    title: str
    default: bool  # whether it starts by itself
    followed: bool  # whether its files are read: all of the default's, the beginnings of others
    files: tuple[tuple[Load, int | None], ...]  # with their sizes in bytes where they were read
    init: str | None  # the program that the kernel is told to start
