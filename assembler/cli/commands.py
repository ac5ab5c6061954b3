"""The three commands: from their arguments to what they print."""

import argparse
import json
import logging
import os
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from assembler import pipeline
from assembler.check.image import check_image
from assembler.cli import report
from assembler.cli.check_report import describe, facts, facts_of_no_image, verdict
from assembler.cli.ending import run_command, set_up_log
from assembler.cli.flags import with_flags
from assembler.cli.parsers import assemble_parser, check_image_parser, prepare_root_parser
from assembler.copying.sharing import CopyMode
from assembler.errors import AssembleError, Message, RequestError, Setting
from assembler.host.console import Console
from assembler.host.output import STANDARD_OUTPUT
from assembler.host.progress import Progress, draws_bars
from assembler.spec import RootSpec, Spec


def assemble_main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command `assemble`."""

    def run(console: Console) -> int:
        return _assemble(assemble_parser().read(argv), console)

    run_command("assemble", run)


def prepare_root_main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command `prepare-root`."""

    def run(console: Console) -> int:
        options = prepare_root_parser().read(argv)
        progress = _progress(options, console)
        mode = CopyMode(options.copy_mode)
        pipeline.prepare(
            _root_spec(options), options.root, mode, force=options.force, progress=progress
        )
        return 0

    run_command("prepare-root", run)


def check_image_main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command `check-image`."""

    def run(console: Console) -> int:
        return _check(check_image_parser().read(argv), console)

    run_command("check-image", run)


def _assemble(options: argparse.Namespace, console: Console) -> int:
    """Assemble an image, or print its plan."""
    streams = options.out == STANDARD_OUTPUT and not options.plan
    if streams and options.json:
        out = Setting("out", options.out)
        raise RequestError([Message("--json and ", out, " both write to standard output")])
    console.prints_data = options.json or streams
    spec = _image_spec(options)
    progress = _progress(options, console)
    if options.plan:
        plan = pipeline.plan_image(spec, progress)
        facts = report.plan_facts(plan)
        if options.json:
            _print_json(console, facts)
        else:
            console.out.lines(report.plan_lines(facts))
        return 0
    plan, found = pipeline.assemble(spec, progress)
    console.is_result = False
    if options.json:
        _print_json(console, report.result_facts(plan, found, progress))
    elif streams and not options.quiet:
        console.err.lines(report.result_lines(plan, found, progress))
    elif not options.quiet:
        console.out.lines(report.result_lines(plan, found, progress))
        console.out.lines(report.next_step(plan), fold=False)
    return 0


def _check(options: argparse.Namespace, console: Console) -> int:
    """Check images one after another; the status is that of the worst."""
    _set_up_log(options, console)
    console.is_result, console.prints_data = False, options.json
    found: list[dict[str, Any]] = []
    statuses = [0]
    for image in options.images:
        try:
            read = check_image(image, target=options.target)
        except AssembleError as error:
            statuses.append(error.exit_status)
            lines = [*map(with_flags, error.lines)]
            found.append(facts_of_no_image(str(image), lines))
            console.complain(f"check-image: {line}" for line in lines)
            continue
        statuses.append(int(not read.sound))
        found.append(facts(read))
        if not options.json and not (options.quiet and read.sound):
            header = [f"{image}:"] if len(options.images) > 1 else []
            console.out.lines([*header, *describe(read), verdict(read)])
            console.out.flush()
            if console.out.fault:
                console.complain([f"check-image: {image} is {verdict(read)}"])
    if options.json:
        _print_json(console, found)
    return 1 if 1 in statuses else max(statuses)


def _print_json(console: Console, facts: object) -> None:
    """Print facts as JSON, in which all but ASCII is escaped."""
    console.out.write(json.dumps(facts, indent=2).replace("\x7f", "\\u007f") + "\n")


def _image_spec(options: argparse.Namespace) -> Spec:
    return Spec(
        root=_root_spec(options),
        out=options.out,
        target=options.target,
        format=options.format,
        bmap=options.bmap,
        checksum=options.checksum,
        contents=options.contents,
        store_only=options.store_only,
        size=options.size,
        additional_space=options.additional_space,
        layout=options.layout,
        boot_size=options.boot_size,
        label=options.label,
        root_uuid=options.root_uuid,
        root_partuuid=options.root_partuuid,
        disk_guid=options.disk_guid,
        partition_guids=tuple(options.partition_guid),
        seed=options.seed,
        file_system=options.filesystem,
        subvolumes=tuple(options.subvolume),
        writer=options.writer,
        partition_table=options.partition_table,
        sector_size=options.sector_size,
        boot_loader=options.boot_loader,
        efi_binaries=tuple(options.efi_binary),
        accelerator=options.accelerator,
    )


def _root_spec(options: argparse.Namespace) -> RootSpec:
    return RootSpec(
        system=options.system,
        closures=tuple(options.closure),
        store=options.store,
        additional_paths=tuple(options.additional_path),
        check_hashes=options.check_hashes,
        generations=tuple(options.generation),
        channel=options.channel,
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


def _set_up_log(options: argparse.Namespace, console: Console) -> None:
    levels = {0: logging.WARNING, 1: logging.INFO}
    level = logging.ERROR if options.quiet else levels.get(options.verbose, logging.DEBUG)
    # On a terminal, a message replaces the bar that is drawn on its line.
    bars = options.progress if options.progress is not None else draws_bars(console.err)
    set_up_log(console, level, bars=bars and not options.quiet)


def _progress(options: argparse.Namespace, console: Console) -> Progress:
    _set_up_log(options, console)
    return Progress(bars=options.progress, quiet=options.quiet, stream=console.bars)
