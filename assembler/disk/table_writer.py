"""Write a partition table into an image file, with libfdisk.

The library takes a table as a script in the format of `sfdisk --dump`. Unlike sfdisk, it writes for
any sector size. Declarations: util-linux, libfdisk/src/libfdisk.h.in.
"""

import os
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assembler.disk.layout import Layout, Partition
from assembler.errors import HostError
from assembler.host.scratch import scratch_directory
from assembler.host.shared_objects import LIBFDISK, load_library

_DECLARATIONS = """
struct fdisk_context *fdisk_new_context(void);
struct fdisk_context *fdisk_new_nested_context(struct fdisk_context *, const char *);
void fdisk_unref_context(struct fdisk_context *);
int fdisk_disable_dialogs(struct fdisk_context *, int);
int fdisk_save_user_sector_size(struct fdisk_context *, unsigned, unsigned);
int fdisk_assign_device(struct fdisk_context *, const char *, int);
int fdisk_deassign_device(struct fdisk_context *, int);
struct fdisk_script *fdisk_new_script_from_file(struct fdisk_context *, const char *);
void fdisk_unref_script(struct fdisk_script *);
int fdisk_apply_script(struct fdisk_context *, struct fdisk_script *);
int fdisk_toggle_partition_flag(struct fdisk_context *, size_t, unsigned long);
int fdisk_write_disklabel(struct fdisk_context *);
"""
_ACTIVE = 1  # DOS_FLAG_ACTIVE
# Partition types in an MBR; that of the FAT is the one that parted sets, as nixpkgs does.
_LINUX, _FAT32 = "83", "c"
_PLAIN = string.ascii_letters + string.digits + " ._-"  # of a name that is written as it is
_GPT_ENTRIES = 128 * 128  # bytes of the array of entries (UEFI specification 5.3.2)


def write_table(image: Path, layout: Layout) -> None:
    """Write the table of `layout` into `image`, a regular file of `layout.size` bytes.

    Boot code in the first sector is cleared; everything inside the partitions stays as it is.
    A layout without a table writes nothing. Raises HostError when the file cannot be written or
    libfdisk is missing.
    """
    if not layout.table.has_partitions:
        return
    library = _load()

    def check(status: int) -> None:
        if status:
            raise HostError(f"cannot write the partition table: {os.strerror(abs(status))}")

    with _context(library) as context:
        size = layout.sector_size
        check(library.fdisk_disable_dialogs(context, 1))
        check(library.fdisk_save_user_sector_size(context, size, size))
        check(library.fdisk_assign_device(context, os.fsencode(image), 0))
        with scratch_directory() as scratch:
            file = Path(scratch) / "table"
            file.write_text(_script(layout))
            script = _made(library.fdisk_new_script_from_file(context, os.fsencode(file)))
        try:
            check(library.fdisk_apply_script(context, script))
        finally:
            library.fdisk_unref_script(script)
        check(library.fdisk_write_disklabel(context))
        if layout.table.is_gpt and not layout.table.boots_efi:
            # Some BIOSes start only a disk with an active partition. UEFI forbids it in the
            # protective MBR (5.2.3), so that a disk for both has none.
            nested = _made(library.fdisk_new_nested_context(context, b"dos"))
            check(library.fdisk_toggle_partition_flag(nested, 0, _ACTIVE))
            check(library.fdisk_write_disklabel(nested))
            library.fdisk_unref_context(nested)
        check(library.fdisk_deassign_device(context, 1))


def problems() -> list[str]:
    """One line if libfdisk cannot be loaded."""
    try:
        _load()
    except HostError as error:
        return [str(error)]
    return []


def _load() -> Any:
    _, library = load_library(LIBFDISK, _DECLARATIONS)
    return library


@contextmanager
def _context(library: Any) -> Iterator[Any]:
    context = _made(library.fdisk_new_context())
    try:
        yield context
    finally:
        library.fdisk_unref_context(context)


def _made(pointer: Any) -> Any:
    """A pointer that libfdisk has returned, unless it is NULL: HostError."""
    if not pointer:
        raise HostError("cannot write the partition table: libfdisk has no memory or no file")
    return pointer


def _script(layout: Layout) -> str:
    """The table in the language of sfdisk(8)."""
    if layout.table.is_mbr:
        lines = ["label: dos", f"label-id: {layout.disk_signature:#010x}"]
    else:
        # The usable blocks begin right after the header and its entries, as on disks that other
        # tools have partitioned.
        first = 2 + _GPT_ENTRIES // layout.sector_size
        lines = ["label: gpt", f"label-id: {layout.disk_guid}", f"first-lba: {first}"]
    lines += [_line(layout, partition) for partition in layout.partitions]
    return "\n".join([*lines, ""])


def _line(layout: Layout, partition: Partition) -> str:
    fields = {
        "start": partition.start // layout.sector_size,
        "size": partition.size // layout.sector_size,
    }
    if layout.table.is_mbr:
        more = [f"type={_LINUX if partition is layout.root else _FAT32}"]
        # Some BIOSes start only a disk with an active partition: the one that has /boot.
        more += ["bootable"] if partition is layout.partitions[0] else []
    else:
        kind = f"type={partition.type}"
        more = [kind, f"uuid={partition.guid}", f'name="{_escape(partition.name)}"']
    where = ", ".join([*(f"{key}={value}" for key, value in fields.items()), *more])
    return f"{partition.number} : {where}"


def _escape(name: str) -> str:
    """A partition's name in quotes: libfdisk's script.c reads bytes written as \\xNN."""
    raw = name.encode(errors="surrogateescape")
    return "".join(chr(one) if chr(one) in _PLAIN else f"\\x{one:02x}" for one in raw)
