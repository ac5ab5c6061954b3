"""What an output format costs beside the raw image, and the tools that write it on their own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from assembler.host import process
from benchlib.closure import Load
from benchlib.contestants import WHOLE, Make, assemble
from benchlib.measure import Measured, run
from benchlib.table import Limit, TableRow

_CONVERTED = ("qcow2", "vhd", "vmdk")
_ZSTD, _COMPRESSED = "zstd -T0", "qemu-img convert -c"
_RATIO, _COMPRESSION_RATIO, _MEMORY = 1.6, 1.1, 120


class InFormat:
    """The whole command with another format than raw."""

    def __init__(self, load: Load, name: str) -> None:
        self._load, self._name = load, name

    def run(self, out: Path) -> list[Measured]:
        """Assemble the image."""
        done = assemble(self._load, out, "--format", self._name)
        return [Measured(_row(self._name), done.seconds, done.peak)]


class Tool:
    """A program that writes a format of a raw image which stands ready."""

    def __init__(self, load: Load, scratch: Path, row: str, argv: Sequence[str]) -> None:
        """`argv` gets two more words: the raw image, and where the result is to be."""
        self._raw, self._row, self._argv = scratch / "raw", row, argv
        if not self._raw.exists():
            assemble(load, self._raw)

    def run(self, out: Path) -> list[Measured]:
        """Write the result."""
        argv: list[process.Arg] = [*self._argv, self._raw, out]
        return [Measured(self._row, run(argv).seconds)]


def _row(name: str) -> str:
    return f"assemble --format {name}"


_ZSTD_ARGV = ("sh", "-c", 'exec zstd -T0 -q -c "$1" > "$2"', "sh")
# The fastest of qemu-img's options for this: more coroutines than its 8, no host cache on the way.
_CONVERT_ARGV = ("qemu-img", "convert", "-c", "-W", "-m", "16", "-f", "raw", "-O", "qcow2")

FORMATS: tuple[Make, ...] = (
    *(lambda load, _, name=name: InFormat(load, name) for name in _CONVERTED),  # type: ignore[misc]
    lambda load, _: InFormat(load, "raw.zst"),
    lambda load, scratch: Tool(load, scratch, _ZSTD, _ZSTD_ARGV),
    lambda load, _: InFormat(load, "qcow2-compressed"),
    lambda load, scratch: Tool(load, scratch, _COMPRESSED, _CONVERT_ARGV),
)


def format_limits(rows: Mapping[str, TableRow]) -> list[Limit]:
    """What is required of formats, beside the whole command for a raw image; none if unmeasured."""
    if _ZSTD not in rows:
        return []
    raw = rows[WHOLE].median
    ratios = [(name, rows[_row(name)].median / raw, _RATIO) for name in _CONVERTED]
    for name, tool in (("raw.zst", _ZSTD), ("qcow2-compressed", _COMPRESSED)):
        ratio = rows[_row(name)].median / (raw + rows[tool].median)
        ratios.append((f"{name} / (raw + {tool})", ratio, _COMPRESSION_RATIO))
    return [Limit(what, ratio, bound) for what, ratio, bound in ratios]
