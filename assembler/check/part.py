"""One partition of an image that is read back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """One partition as the table in the image shows it, and what was found in it."""

    number: int
    name: str
    type_guid: str  # in lower case; in an MBR, a number
    start: int  # bytes
    size: int  # bytes
    content: str = ""  # in the user's words
    kind: str = ""  # of file system, or that it is for GRUB's core image
    inodes: int | None = None  # that are used, in an ext4
    free: int = 0  # bytes, in an ext4
    empty: bool = False  # nothing is in it, as far as this is looked at: in a FAT
    fault: str = ""  # what is wrong, in one line

    @property
    def where(self) -> str:
        """The partition in a message."""
        return f"partition {self.number} ({self.name})" if self.name else f"partition {self.number}"


def time_limit(seconds: int, size: int, rate: int) -> float:
    """How long a program may read `size` bytes of an image that may be damaged, in seconds.

    `rate` is in bytes a second, far below what any disk gives, so that no program is stopped that
    would end.
    """
    return seconds + size / rate
