"""The output formats that there are, and the format that a file's name promises."""

from collections.abc import Mapping
from pathlib import Path

from assembler.errors import Message, Setting
from assembler.formats.format import Format
from assembler.formats.raw import RAW
from assembler.host.output import destination

_ALL = (RAW,)
_DEFAULT = RAW  # for a name that promises no format
_BY_ENDING: Mapping[str, Format] = {ending: one for one in _ALL for ending in one.endings}
# What names of disk images in any format, and of archives and compressed files, end in.
_PROMISES = frozenset(
    (
        *("qcow", "qcow2", "qed", "vdi", "vmdk", "vhd", "vhdx", "vpc", "hdd", "parallels", "cow"),
        *("ova", "ovf", "vma", "dmg", "iso", "wim", "squashfs", "sqsh", "cpio", "tar", "nar"),
        *("gz", "tgz", "xz", "txz", "zst", "zstd", "bz2", "lz4", "lzo", "lzma", "zip", "7z", "br"),
    )
)


def output_format(out: Path) -> Format:
    """Return the format of the image at `out`; `name_problems` has found nothing wrong with it."""
    return _BY_ENDING.get(_ending(out.name), _DEFAULT)


def name_problems(out: Path) -> list[str]:
    """Return a line if the name of `out`, or of its target, promises a format that is not made."""
    for name in (out.name, destination(out).name):
        ending = _ending(name)
        if ending in _PROMISES and ending not in _BY_ENDING:
            names = " or ".join(f".{one}" for one in _BY_ENDING)
            formats = " or ".join(one.name for one in _ALL)
            fault = f": the format is {formats}, not {ending}: name the file {names}"
            return [Message(Setting("out", out), fault)]
    return []


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""
