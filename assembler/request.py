"""What a user asks for, with all that it names looked up."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assembler import process
from assembler.appliance import kernels, resources, session
from assembler.appliance.accelerator import attempts
from assembler.boot.bootspec import Bootspec, read_bootspec
from assembler.boot.grub import Grub, Platform, find_grub
from assembler.errors import HostError, RequestError
from assembler.root.contents import Row, read_contents, rows_with
from assembler.root.files import Files
from assembler.root.prepare import channel_problems, find_shell, program_paths
from assembler.root.skeleton import CONFIGURATION
from assembler.spec import LABEL_MAX, RootSpec, Spec
from assembler.store.closure import Closure, read_closure

_TOOLS = ("nix-store", "mke2fs", "e2fsck", "mkfs.fat", "fsck.fat", "mmd", "mcopy", "sfdisk")


@dataclass(frozen=True, slots=True)
class Request:
    """A request that makes sense, with all that it names looked up."""

    spec: Spec
    closure: Closure
    files: Files
    bootspec: Bootspec
    grubs: Mapping[Platform, Grub]  # empty when the system's own installer takes the part
    rows: tuple[Row, ...]


def read_root(spec: RootSpec, files: Files) -> Closure:
    """The closure of a request for a root; raises RequestError with every problem."""
    closure = read_closure(
        spec.closures,
        spec.store,
        spec.system,
        spec.further_paths,
        files,
        build_dependencies=spec.include_build_deps,
    )
    problems = closure.problems(files, [spec.system, *spec.further_paths])
    if not problems:
        if spec.channel is not None and spec.brings_files:
            problems = channel_problems(spec.channel, files)
        find_shell(files, spec.system, program_paths(closure.infos, spec.profile_paths))
    if problems:
        raise RequestError(problems)
    return closure


def read_request(spec: Spec, scratch: Path) -> Request:
    """Look up all that the request names; raises RequestError with every problem, or HostError.

    `scratch` is a directory for what of an export is needed as files.
    """
    _require_tools(spec)
    found = _Findings(spec.problems())
    if spec.needs_appliance:
        found.problems += resources.problems()
        with found.gather():
            attempts(spec.accelerator)
    files = Files(spec.root.store, scratch)
    closure, grubs = None, {}
    if not spec.root.problems():
        with found.gather():
            closure = read_root(spec.root, files)
            paths = program_paths(closure.infos, spec.root.profile_paths)
            if spec.boot_loader == "grub":
                grubs = {
                    platform: find_grub(platform, files, paths)
                    for platform in (Platform.BIOS, Platform.EFI)
                }
        # Of an export that could not be read, no more need be said.
        if closure is not None or not spec.root.brings_files:
            with found.gather():
                bootspec = read_bootspec(files, spec.root.system)
    rows: list[Row] = []
    with found.gather():
        if spec.contents is not None:
            rows = _read_rows(spec.contents, files, spec.root.configuration)
    found.tell()
    assert closure is not None
    return Request(spec, closure, files, bootspec, grubs, tuple(rows))


def _require_tools(spec: Spec) -> None:
    """Raise HostError with a line for each tool that the host lacks."""
    missing = process.require(*_TOOLS)
    if spec.needs_appliance:
        missing += session.problems()
    if spec.writes_in_appliance and spec.file_system in LABEL_MAX:
        missing += kernels.problems(spec.file_system, LABEL_MAX)
    if missing:
        raise HostError("\n".join(missing))


def _read_rows(file: Path, files: Files, configuration: Path | None) -> list[Row]:
    """The rows of `--contents`; raises RequestError for these and for a second configuration."""
    rows = read_contents(file, files)
    if configuration is not None and (clashes := rows_with(rows, CONFIGURATION)):
        raise RequestError(
            [
                f"--configuration and the --contents row for {row.target}, {row.source}, both "
                f"make {CONFIGURATION}"
                for row in clashes
            ]
        )
    return rows


class _Findings:
    """Gathers what is wrong with a request, and which tools failed, until all was looked at."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        self._failures: list[HostError] = []

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Go on after the block, whatever it raised."""
        try:
            yield
        except RequestError as error:
            self.problems += error.problems
        except HostError as error:
            self._failures.append(error)

    def tell(self) -> None:
        """Raise what was found, if anything."""
        if self.problems:
            raise RequestError([*dict.fromkeys(self.problems), *map(str, self._failures)])
        if self._failures:
            raise self._failures[0]
