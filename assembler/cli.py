"""The three commands: argv in, exit status out. Only this module ends the process."""

import argparse
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

from assembler import pipeline, process, report
from assembler.appliance.accelerator import Accelerator
from assembler.check.image import check_image, describe
from assembler.errors import AssembleError, InternalError, RequestError, reason
from assembler.options import (
    add_boot_options,
    add_disk_options,
    add_messages,
    add_root_options,
    add_writer_options,
)
from assembler.progress import Progress
from assembler.root.target import target_problems
from assembler.spec import RootSpec, Spec
from assembler.store.paths import StoreRoot
from assembler.writers.sharing import CopyMode

log = logging.getLogger(__name__)

# The signals that ask us to end, and what we say of each.
_SIGNALS = {
    signal.SIGHUP: "the terminal has gone",
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
}


def assemble_main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command `assemble`."""
    parser = argparse.ArgumentParser(
        prog="assemble",
        description="Turn a Nix closure into a bootable disk image, entirely in user space.",
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="image to write")
    add_root_options(parser)
    add_disk_options(parser)
    add_boot_options(parser)
    add_writer_options(parser)
    add_messages(parser)
    parser.add_argument(
        "--plan", action="store_true", help="print what would be made, and write nothing"
    )
    parser.add_argument("--json", action="store_true", help="with --plan: print it as JSON")
    options = parser.parse_args(argv)
    _end(lambda: _assemble(options))


def prepare_root_main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command `prepare-root`."""
    parser = argparse.ArgumentParser(
        prog="prepare-root",
        description="Fill a directory with a NixOS root: skeleton, Nix database and store paths.",
        allow_abbrev=False,
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="directory to fill")
    add_root_options(parser)
    parser.add_argument(
        "--copy-mode",
        choices=tuple(CopyMode),
        default=CopyMode.AUTO,
        help="how file data gets into ROOT: reflink shares it, hardlink makes further names of the "
        "very same files, copy shares nothing (default: auto, reflinks where they can be made)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="fill a directory that is neither empty nor a prepared root, or this machine's own",
    )
    add_messages(parser)
    options = parser.parse_args(argv)

    def run() -> None:
        spec = _root_spec(options)
        problems = spec.problems() + target_problems(options.root, force=options.force)
        if problems:
            raise RequestError(problems)
        pipeline.prepare(spec, options.root, CopyMode(options.copy_mode), _progress(options))

    _end(run)


def check_image_main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command `check-image`."""
    parser = argparse.ArgumentParser(
        prog="check-image",
        description="Check partition table, file systems and boot chains of a raw disk image.",
        allow_abbrev=False,
    )
    parser.add_argument("image", type=Path, metavar="FILE", help="raw image to read")
    add_messages(parser)
    options = parser.parse_args(argv)

    def run() -> None:
        _set_up_log(options)
        if not options.image.is_file():
            raise RequestError(f"{options.image} is not a file")
        found = check_image(options.image)
        print("\n".join(describe(found)))
        if found.faults:
            raise AssembleError("\n".join(found.faults))

    _end(run)


def _assemble(options: argparse.Namespace) -> None:
    spec = Spec(
        root=_root_spec(options),
        out=options.out,
        contents=options.contents,
        size=options.size,
        additional_space=options.additional_space,
        boot_size=options.boot_size,
        label=options.label,
        file_system=options.filesystem,
        subvolumes=tuple(options.subvolume),
        writer=options.writer,
        table=options.partition_table,
        sector_size=options.sector_size,
        boot_loader=options.boot_loader,
        efi_binaries=tuple(options.efi_binary),
        rs_codes=options.rs_codes,
        accelerator=Accelerator(options.accelerator),
    )
    progress = _progress(options)
    if options.json and not options.plan:
        raise RequestError("--json goes with --plan")
    if options.plan:
        with process.scratch_directory() as staging:
            plan = pipeline.plan(spec, progress, Path(staging))
        facts = report.plan_facts(plan)
        print(json.dumps(facts, indent=2) if options.json else "\n".join(report.plan_lines(facts)))
        return
    summary = pipeline.assemble(spec, progress)
    if not options.quiet:
        print("\n".join(report.summary_lines(spec.out, summary, progress)))


def _root_spec(options: argparse.Namespace) -> RootSpec:
    return RootSpec(
        system=options.system.rstrip("/"),
        closures=tuple(options.closure),
        store=StoreRoot(options.store.absolute()),
        additional_paths=tuple(path.rstrip("/") for path in options.additional_path),
        check_hashes=options.check_hashes,
        generations=tuple(options.generation),
        channel=options.channel and options.channel.rstrip("/"),
        configuration=options.configuration,
        include_build_deps=options.include_build_deps,
        epoch=_epoch(),
    )


def _epoch() -> int:
    """SOURCE_DATE_EPOCH (reproducible-builds.org/specs/source-date-epoch), else 1."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "1")
    if not re.fullmatch("[0-9]{1,20}", text):
        raise RequestError(f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds")
    return max(1, int(text))


def _set_up_log(options: argparse.Namespace) -> None:
    levels = {0: logging.WARNING, 1: logging.INFO}
    level = logging.ERROR if options.quiet else levels.get(options.verbose, logging.DEBUG)
    # On a terminal a line of ours takes the place of the bar that stands there.
    bars = options.progress if options.progress is not None else sys.stderr and sys.stderr.isatty()
    form = "\r\033[K%(message)s" if bars and not options.quiet else "%(message)s"
    logging.basicConfig(level=level, format=form, stream=sys.stderr)


def _progress(options: argparse.Namespace) -> Progress:
    _set_up_log(options)
    return Progress(bars=options.progress, quiet=options.quiet)


class _StoppedError(BaseException):
    """SIGTERM or SIGHUP arrived: unwind as an interrupt does."""


class _Signals:
    """Makes an exception of the first signal that asks us to end.

    Those after it are passed over, for they would interrupt the clean-up.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.heeded = True
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup has its way
                signal.signal(number, self._receive)

    def ignore(self) -> None:
        """Have no more of them: Python, while it ends, would take a handler of ours away."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        # A signal is passed over here, not with SIG_IGN, which the programs we start would inherit.
        if self.heeded:
            self.heeded = False
            self.received = signal.Signals(number)
            raise KeyboardInterrupt if number == signal.SIGINT else _StoppedError


def _end(run: Callable[[], None]) -> NoReturn:
    """Run a command, print what went wrong, and exit with the status that says whose fault."""
    signals = _Signals()
    for stream in (sys.stdout, sys.stderr):  # a file name need not be text that they can show
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    name = Path(sys.argv[0]).name
    status = 0
    try:
        run()
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, _StoppedError) as error:
        signals.heeded = False
        process.remove_scratch()
        if signals.received:  # what the unwinding raised on top of it, nobody asks
            status, lines = 128 + signals.received, [_SIGNALS[signals.received]]
        else:
            status, lines = _explain(error)
        with suppress(OSError):  # the terminal may have gone
            for line in lines:
                print(f"{name}: {line}", file=sys.stderr)
    signals.ignore()
    for stream in (sys.stdout, sys.stderr):
        _flush_or_drop(stream)
    sys.exit(status)


def _explain(error: BaseException) -> tuple[int, list[str]]:
    """The exit status for what a command raised, and the lines to print."""
    match error:
        case AssembleError():
            return error.exit_status, str(error).splitlines()
        case BrokenPipeError():
            return 1, []  # whoever read our output has gone
        case OSError():
            return 1, [reason(error)]
    log.debug("where it happened:", exc_info=error)
    bug = InternalError(f"{type(error).__name__}: {error}")
    return 1, [str(bug), "-vv tells where it happened"]


def _flush_or_drop(stream: TextIO) -> None:
    """Write out what a stream holds; where nobody takes it, Python shall not complain at exit."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
