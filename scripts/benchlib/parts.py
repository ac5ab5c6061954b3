"""The parts of the benchmark: the comparison, the million inodes, the wide directory, the XFS."""

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path

from assembler.errors import HostError
from assembler.host import process
from assembler.store import live
from assembler.store.paths import StoreRoot
from assembler.units import BLOCK, GIB, MIB
from benchlib.closure import Load, Shape, copy_live, make_up
from benchlib.contestants import Assemble, Contestant, Make, assemble, seconds_of_steps, send
from benchlib.formats import FORMATS, format_limits
from benchlib.measure import Elsewhere, Finished, Measured
from benchlib.room import (
    file_system,
    mounted_xfs,
    need,
    scratch_directory,
    touch_memory,
    why_no_xfs,
)
from benchlib.table import Limit, gather, limits, step_lines, table

_MILLION = Shape(size=GIB, inodes=1_000_000, paths=2000)
_PLAIN = Shape(size=20 * MIB, inodes=500, paths=20)  # what the wide directory lies in


def say(line: str) -> None:
    """Print a line now, even into a pipe."""
    print(line, flush=True)


def describe(load: Load, where: Path) -> str:
    """One line on a closure."""
    return (
        f"{load.data / 1e6:.1f} MB in {load.inodes:,} inodes of {load.paths} store paths, "
        f"on {file_system(where)} ({where.parent})"
    )


def compare(
    source: Shape | str, directory: Path | None, rounds: int, makers: Sequence[Make]
) -> list[Limit]:
    """Measure contestants on a made-up closure, or on that of a live toplevel.

    The first round is discarded.
    """
    space = need(source) if isinstance(source, Shape) else _need_of_live(source)
    space *= 2 if set(makers) & set(FORMATS) else 1  # two raw images, and a result
    with scratch_directory(directory, space) as scratch:
        load = _load(scratch / "root", source)
        say(describe(load, scratch))
        contestants = [make(load, scratch) for make in makers]
        results: list[list[Measured]] = [[] for _ in contestants]
        elsewhere = Elsewhere()
        pairs = list(zip(contestants, results, strict=True))
        for number in range(rounds + 1):
            for contestant, found in pairs if number % 2 else reversed(pairs):
                measured = _one(contestant, load, scratch / "out")
                words = "; ".join(f"{one.row} {one.seconds:.2f} s" for one in measured)
                say(f"round {number or '(discarded)'}: {words}")
                if number:
                    found.extend(measured)
    rows = gather(chain(*results))
    say("\n" + "\n".join(table(rows)))
    say(f"other processes kept {elsewhere.processors():.2f} of {os.cpu_count()} processors busy")
    for one in contestants:
        if isinstance(one, Assemble):
            heading = f"steps of {one.name}, median seconds"
            say("\n" + "\n".join([heading, *step_lines(one.steps, rounds)]))
    return limits(rows) + format_limits(rows)


def _one(contestant: Contestant, load: Load, out: Path) -> list[Measured]:
    """Let a contestant make an image of files that are in the page cache, and remove it."""
    _warm(load)
    if file_system(out.parent) == "tmpfs":
        touch_memory(out, load.data + load.inodes * BLOCK)
    try:
        return contestant.run(out)
    finally:
        out.unlink(missing_ok=True)


def _load(root: Path, source: Shape | str) -> Load:
    return make_up(root, source) if isinstance(source, Shape) else copy_live(root, source)


def _need_of_live(system: str) -> int:
    """Bytes that the closure of a live toplevel and an image of it take together, roughly."""
    return 3 * sum(info.nar_size for info in live.query(StoreRoot(), [system])) + GIB


def _warm(load: Load) -> None:
    """Bring every file into the page cache."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for path, size in load.files:
            send(path, size, nowhere)
    finally:
        os.close(nowhere)


def million(directory: Path | None) -> list[Limit]:
    """The memory that a closure of a million inodes takes."""
    done = _assemble_once(_MILLION, directory)
    return [Limit("peak memory, a million inodes", done.peak / MIB, 600, "MiB")]


def wide_directory(entries: int, directory: Path | None) -> list[Limit]:
    """The time that a directory of many entries takes, on top of a small closure."""
    done = _assemble_once(replace(_PLAIN, directory_of=entries), directory)
    return [Limit(f"a directory of {entries:,}, whole command", done.seconds, 10, "s")]


def _assemble_once(shape: Shape, directory: Path | None) -> Finished:
    """Assemble a made-up closure, and print how long its steps took."""
    with scratch_directory(directory, need(shape)) as scratch:
        load = make_up(scratch / "root", shape)
        say("\n" + describe(load, scratch))
        _warm(load)
        if file_system(scratch) == "tmpfs":
            touch_memory(scratch / "out", load.data + load.inodes * BLOCK)
        done = assemble(load, scratch / "out")
        say(
            "".join(f"  {name}: {one:.2f} s\n" for name, one in seconds_of_steps(done).items())
            + f"  peak {done.peak / MIB:.1f} MiB, {done.seconds:.2f} s in all"
        )
        return done


def reflinks(shape: Shape, directory: Path | None) -> list[Limit]:
    """How much an image on XFS takes of its own, where source and image lie on the same one."""
    reason = why_no_xfs()
    if reason:
        say(f"\nXFS with reflinks: not measured: {reason}")
        return []
    with scratch_directory(directory, 2 * need(shape)) as scratch, ExitStack() as stack:
        point = stack.enter_context(mounted_xfs(scratch, 2 * need(shape)))
        load = make_up(point / "root", shape)
        say("\n" + describe(load, point))
        os.sync()
        before = shutil.disk_usage(point).used
        done = assemble(load, point / "out")
        os.sync()
        grown = shutil.disk_usage(point).used - before
        shared = _shared_bytes(point / "out")
    whole = sum(size // BLOCK * BLOCK for _, size in load.files)
    say(
        f"  {done.seconds:.2f} s; {shared / 1e6:.1f} of {whole / 1e6:.1f} MB in whole blocks are "
        f"shared; the disk holds {grown / 1e6:.1f} MB more than before"
    )
    return [Limit("whole blocks of data copied, not shared", 1 - shared / whole, 0.05)]


def _shared_bytes(image: Path) -> int:
    """Bytes of a file that it shares with others, by FIEMAP."""
    done = process.run(["filefrag", "-v", image], what="asking for shared extents")
    text = done.stdout.decode()
    block = re.search(r"blocks? of (\d+) bytes", text)
    if block is None:
        raise HostError(f"filefrag says: {text[:200]}")
    lengths = re.findall(r"^ *\d+:(?:[^:\n]*:){2} *(\d+):.*\bshared\b", text, re.MULTILINE)
    return sum(map(int, lengths)) * int(block[1])
