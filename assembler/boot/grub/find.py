"""Find GRUB in the closure or on the host, for each firmware that can start a disk."""

import logging
import os
import posixpath
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from assembler.boot.grub.grub import (
    BIOS,
    PLATFORMS,
    SHARED,
    Grub,
    Platform,
    lacking,
    missing_files,
    package_of,
)
from assembler.boot.lookup import host_tree, optional_file
from assembler.disk.tables import Table
from assembler.errors import Findings, HostError, RequestError
from assembler.host import process, programs
from assembler.store.paths import Store, store_path_of

log = logging.getLogger(__name__)

_MKIMAGE = "grub-mkimage"
_MODULE_LIST = "moddep.lst"  # in every directory of modules
_HOST_PREFIX = Path("/usr")


def find_grubs(
    store: Store,
    paths: Sequence[str],
    found: Findings,
    *,
    table: Table,
    main: Platform,
    without: Collection[Platform],
) -> dict[Platform, Grub]:
    """GRUB for every platform that a disk must boot, and for others that come with it.

    `main` is the machine's platform for UEFI. `paths` are store paths, in the order in which they
    are searched. GRUB may be missing for the platforms `without`: other programs boot
    these. Any other GRUB that is missing is a problem in `found`.
    """
    grubs: dict[Platform, Grub] = {}
    needed = [BIOS] if table.boots_bios else []
    if table.boots_efi and main not in without:
        needed.append(main)
    for platform in needed:
        with found.gather():
            grubs[platform] = find_grub(platform, store, paths)
    if table.boots_efi and not found.problems:
        with found.gather():
            grubs |= _optional_grubs(store, paths, main, grubs.get(main))
    return grubs


def _optional_grubs(
    store: Store, paths: Sequence[str], main: Platform, grub: Grub | None
) -> dict[Platform, Grub]:
    """GRUB for the firmware of other machines, and for the main platform if it is optional."""
    optional: dict[Platform, Grub] = {}
    for host in (False, True):
        if grub is None and (grub := find_optional_grub(main, store, paths, host=host)):
            optional[main] = grub
    # Taken from where the main one is from: otherwise the image would depend on the host.
    host = grub is not None and grub.store_path is None
    for platform in PLATFORMS:
        if platform.is_efi and platform != main:
            other = find_optional_grub(platform, store, paths, host=host)
            if other is not None:
                optional[platform] = other
    return optional


def find_grub(platform: Platform, store: Store, paths: Iterable[str]) -> Grub:
    """Find GRUB in store paths, in their order, else on the host.

    Incomplete modules are skipped, with a warning if complete ones are found.
    grub-mkimage is the one beside the modules, so that both are of one version, or the host's
    where that does not run. Raises RequestError where there are no modules, or only incomplete
    ones, saying which package to install; HostError where there is no grub-mkimage.
    """
    incomplete: list[str] = []
    candidates = chain(_in_closure(platform, store, paths), _on_host(platform))
    found = _first(platform, candidates, incomplete)
    if found is None:
        raise RequestError(
            incomplete
            or f"GRUB's modules for {platform} are neither in the closure nor on this host: "
            f"{package_of(platform)}"
        )
    return found


def find_optional_grub(
    platform: Platform, store: Store, paths: Iterable[str], *, host: bool
) -> Grub | None:
    """GRUB for firmware that need not start the disk: from store paths, or from the `host`.

    None where there is none; one that is incomplete is left out with a warning.
    """
    incomplete: list[str] = []
    candidates = _on_host(platform) if host else _in_closure(platform, store, paths)
    found = _first(platform, candidates, incomplete)
    if found is None:
        for line in incomplete:
            log.warning("%s; it is left out", line)
    return found


def _first(
    platform: Platform, candidates: Iterable[tuple[str | None, Path]], incomplete: list[str]
) -> Grub | None:
    """The first complete directory; adds a line to `incomplete` for each incomplete one."""
    for path, modules in candidates:
        if missing := missing_files(platform, modules):
            incomplete.append(lacking(platform, modules, missing))
            continue
        for line in incomplete:
            log.warning("%s; instead %s is used", line, modules)
        return _with_mkimage(platform, modules, path)
    return None


def _with_mkimage(platform: Platform, modules: Path, store_path: str | None) -> Grub:
    fault = HostError(*programs.require(_MKIMAGE))
    for program in (*_beside(modules), programs.which(_MKIMAGE)):
        if program is None:
            continue
        try:  # one from a closure may be for another machine
            process.run([program, "--version"], what="trying GRUB")
        except HostError as error:
            fault = error
        else:
            return Grub(platform, modules, program, store_path)
    raise fault


def _in_closure(
    platform: Platform, store: Store, paths: Iterable[str]
) -> Iterator[tuple[str, Path]]:
    for path in paths:
        # nixpkgs installs to the store path itself, a distribution's package below usr/.
        for prefix in (path, f"{path}/usr"):
            modules = f"{prefix}/lib/grub/{platform}"
            found = optional_file(store, f"{modules}/{_MODULE_LIST}")
            if found is None:
                continue
            # The directory may be a link, which leads into the store of the image.
            modules = posixpath.dirname(found)
            installation = modules.removesuffix(f"/lib/grub/{platform}")
            if store_path_of(installation) is not None:
                # Of an export only files that are asked for are unpacked: ask for these, too.
                for beside in (f"bin/{_MKIMAGE}", *SHARED):
                    host_tree(store, f"{installation}/{beside}")
                yield path, host_tree(store, modules)


def _on_host(platform: Platform) -> Iterator[tuple[None, Path]]:
    prefixes = [_HOST_PREFIX]
    for directory in programs.search_path().split(os.pathsep):
        program = Path(directory or ".") / _MKIMAGE
        if os.path.isfile(program):  # unlike Path.is_file, false in an unreadable directory
            prefixes.append(program.resolve().parent.parent)
    for prefix in dict.fromkeys(prefixes):
        modules = prefix / "lib" / "grub" / str(platform)
        if os.path.isfile(modules / _MODULE_LIST):
            yield None, modules


def _beside(modules: Path) -> Iterator[Path]:
    """The grub-mkimage of the same installation, below `<prefix>/lib/grub/<platform>`."""
    program = modules.parents[2] / "bin" / _MKIMAGE
    if os.path.isfile(program):
        yield program
