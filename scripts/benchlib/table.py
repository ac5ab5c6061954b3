"""Results as people read them: a table, and what was required of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from assembler.units import MIB
from benchlib.contestants import FLOOR, GUESTFS, MKE2FS, VIRT_MAKE_FS, WHOLE, WRITE
from benchlib.measure import Measured


@dataclass(frozen=True, slots=True)
class TableRow:
    """What one thing took over all rounds."""

    name: str
    seconds: tuple[float, ...]
    peak: int | None  # bytes, the most of all rounds

    @property
    def median(self) -> float:
        """Seconds."""
        return median(self.seconds)


@dataclass(frozen=True, slots=True)
class Limit:
    """Something required: `value` must not be above `bound`."""

    what: str
    value: float
    bound: float
    unit: str = ""

    def __str__(self) -> str:
        verdict = "ok" if self.value <= self.bound else "MISSED"
        return f"{self.what:<44}{self.value:8.2f} <= {self.bound:6.2f} {self.unit:<4} {verdict}"


def gather(results: Iterable[Measured]) -> dict[str, TableRow]:
    """The rows of all rounds by name, in the order in which they first came."""
    by_name: dict[str, list[Measured]] = {}
    for result in results:
        by_name.setdefault(result.row, []).append(result)
    return {
        name: TableRow(
            name,
            tuple(one.seconds for one in found),
            max((one.peak for one in found if one.peak is not None), default=None),
        )
        for name, found in by_name.items()
    }


def table(rows: Mapping[str, TableRow]) -> list[str]:
    """The rows as aligned lines, with a heading."""
    heads = ("median", "min", "max", "/ floor", "/ mke2fs", "peak MiB")
    lines = [f"{'seconds':<30}" + "".join(f"{head:>10}" for head in heads)]
    for row in rows.values():
        ratios = (row.median / rows[base].median for base in (FLOOR, MKE2FS))
        figures = [row.median, min(row.seconds), max(row.seconds), *ratios]
        peak = "-" if row.peak is None else f"{row.peak / MIB:.1f}"
        lines.append(f"{row.name:<30}" + "".join(f"{n:10.2f}" for n in figures) + f"{peak:>10}")
    return lines


def step_lines(steps: Mapping[str, Sequence[float]], rounds: int) -> list[str]:
    """The median of every step of the last `rounds` rounds, in seconds."""
    return [f"  {name:<42}{median(seconds[-rounds:]):6.2f}" for name, seconds in steps.items()]


def limits(rows: Mapping[str, TableRow]) -> list[Limit]:
    """What is required of a tree of 1.3 GB and 27,000 inodes on a tmpfs."""
    floor, tree, write, whole = (rows[name] for name in (FLOOR, MKE2FS, WRITE, WHOLE))
    found = [
        Limit("write step / floor", write.median / floor.median, 1.6),
        Limit("write step / mke2fs -d", write.median / tree.median, 0.5),
        Limit("whole command / floor", whole.median / floor.median, 3),
        Limit("peak memory", (whole.peak or 0) / MIB, 120, "MiB"),
    ]
    if GUESTFS in rows and VIRT_MAKE_FS in rows:
        ratio = rows[GUESTFS].median / rows[VIRT_MAKE_FS].median
        found.append(Limit("whole command, guestfs / virt-make-fs", ratio, 0.5))
    return found
