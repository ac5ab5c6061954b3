"""The output formats that there are, and the format that a file's name promises."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from assembler.errors import Message, Setting, either
from assembler.formats.format import Format
from assembler.formats.gce import Gce
from assembler.formats.ova import Ova
from assembler.formats.qcow2 import Qcow2
from assembler.formats.qcow2_compressed import CompressedQcow2
from assembler.formats.raw import RawFormat
from assembler.formats.raw_gz import RawGz
from assembler.formats.raw_xz import RawXz
from assembler.formats.raw_zst import RawZst
from assembler.formats.vdi import Vdi
from assembler.formats.vhd import Vhd
from assembler.formats.vhd_dynamic import DynamicVhd
from assembler.formats.vhdx import Vhdx
from assembler.formats.vma import Vma
from assembler.formats.vmdk import Vmdk
from assembler.formats.vmdk_stream import StreamVmdk
from assembler.host.output import STANDARD_OUTPUT, destination

RAW = RawFormat()  # for a name that promises no format, too
# Where several have an ending, the first one is what a name with it promises.
_ALL: tuple[Format, ...] = (
    RAW,
    Qcow2(),
    CompressedQcow2(),
    Vhd(),
    DynamicVhd(),
    Vhdx(),
    Vmdk(),
    StreamVmdk(),
    Vdi(),
    Gce(),  # before raw.gz, because both are compressed with gzip
    RawZst(),
    RawGz(),
    RawXz(),
    Ova(),
    Vma(),
)
FORMATS: Mapping[str, Format] = {one.name: one for one in _ALL}
# What names of disk images in other formats, and of archives and compressed files, end in.
_OTHERS = (
    *("qcow", "qed", "hdd", "parallels", "cow", "dmg", "iso", "wim", "esd", "squashfs", "sqsh"),
    *("avhd", "avhdx", "vhds", "xva", "box", "simg", "ovf", "cpio", "nar", "tar", "taz"),
    *("tbz", "tbz2", "tb2", "txz", "tlz", "tzst", "zip", "7z", "rar"),
    *("bz2", "bz", "lz", "lz4", "lzo", "lzma", "br", "z"),
)
_ENDINGS = tuple(ending for one in _ALL for ending in one.endings)
_IN_OTHERS = (*(ending for ending in _ENDINGS if ending not in RAW.endings), *_OTHERS)
# One of them in a name, before a dot, a dash or the like; of two at one place, the longer one.
_INNER = re.compile(
    rf"\.({'|'.join(map(re.escape, sorted(_ENDINGS, key=len, reverse=True)))})(?![a-z0-9])", re.I
)


def promised(name: str) -> list[Format]:
    """The formats whose files have such a name: none, or those with the longest ending."""
    ending = _ending(name, _ENDINGS)
    if not ending or foreign_ending(name):
        return []
    return [one for one in _ALL if ending in one.endings]


def foreign_ending(name: str) -> str:
    """What a name ends in that is a known format, but none that is made here; empty if nothing.

    That may be two endings, as in `disk.vma.zst`.
    """
    other, ending = _ending(name, _OTHERS), _ending(name, _ENDINGS)
    if len(other) > len(ending):  # a new format need not be taken out of the others
        return other
    if any(one.wraps for one in _ALL if ending in one.endings):
        inner = _ending(name[: -len(ending) - 1], _IN_OTHERS)
        return f"{inner}.{ending}" if inner else ""
    return ""


def output_format(name: str | None, out: Path) -> Format:
    """The format called `name`, one of FORMATS, or the one that the name of `out` promises."""
    if name is not None:
        return FORMATS[name]
    return next(iter(promised(out.name)), RAW)


def recognised(file: Path) -> Format | None:
    """The format that a file has by its content, unless that is raw or unknown; raises OSError."""
    return next((one for one in _ALL if one.is_in(file)), None)


def format_problems(name: str | None, out: Path) -> list[str]:
    """One line if a format that is asked for does not go with the name of its file."""
    made = output_format(name, out)
    if out == STANDARD_OUTPUT:
        if made.streams:
            return []
        able = ", ".join(one.name for one in _ALL if one.streams)
        why = " cannot be written to standard output, as "
        return [Message(Setting("format", made.name), why, f"{able} can")]
    for file in (out.name, destination(out).name):
        if fault := _name_fault(file, made, is_asked=name is not None):
            return [Message(Setting("out", out), fault)]
    return []


def sidecar_problems(asked: Sequence[str], made: Format, out: Path) -> list[str]:
    """One line for each file beside the image that is `asked` for and cannot be."""
    if out == STANDARD_OUTPUT:
        why = " is a file beside the image, and standard output has none"
        return [Message(Setting(name), why) for name in asked]
    if "bmap" in asked and not made.has_block_map:
        able = ", ".join(one.name for one in _ALL if one.has_block_map)
        why = f" is for the formats {able}, not "
        return [Message(Setting("bmap"), why, Setting("format", made.name))]
    return []


def _name_fault(file: str, made: Format, *, is_asked: bool) -> str:
    """Why a file of a format should have another name; empty if it may have this one."""
    own, foreign = _one_of(made.endings), foreign_ending(file)
    if foreign and not is_asked:
        return f": {foreign} is no output format: name the file {_one_of(_ENDINGS)}"
    if foreign:
        return f": the format is {made.title}, not {foreign}: name the file {own}"
    others = promised(file)
    if others and made not in others:
        take = Setting("format", others[0].name)
        return Message(f": the format is {made.title}: name the file {own}, or take ", take)
    if not is_asked and not others:
        return _inner_ending_fault(file)
    return ""


def _inner_ending_fault(file: str) -> str:
    """Why a name that would get a raw image promises another format, as a.qcow2.tmp does."""
    inner = [found[1].lower() for found in _INNER.finditer(file)][-1:]
    kinds = [kind for name in inner for kind in promised(f".{name}") if kind is not RAW]
    if not kinds:
        return ""
    why = f": .{inner[0]} is in the name, but not at its end: name the file .{inner[0]}, or take "
    either_of = Setting("format", kinds[0].name), " or ", Setting("format", RAW.name)
    return Message(why, *either_of)


def _one_of(endings: Sequence[str]) -> str:
    return either([*dict.fromkeys(f".{ending}" for ending in endings)])


def _ending(name: str, endings: Iterable[str]) -> str:
    """The longest of the endings that a name has, empty if it has none."""
    found = [ending for ending in endings if name.lower().endswith(f".{ending}")]
    return max(found, key=len, default="")
