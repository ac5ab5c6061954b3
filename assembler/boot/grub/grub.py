"""Find GRUB, in the closure or on the host, and let it build its core images."""

import logging
import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path

from assembler.binaries.machine import Machine, machine_of_grub
from assembler.boot.lookup import host_tree
from assembler.errors import HostError, RequestError, reason
from assembler.host import process, programs
from assembler.host.scratch import scratch_directory
from assembler.store.paths import AbsentError, Store, store_path_of

log = logging.getLogger(__name__)

_MKIMAGE = "grub-mkimage"
_LIMIT = 300  # seconds: it takes less than one
_MODULE_LIST = "moddep.lst"  # in every directory of modules
_HOST_PREFIX = Path("/usr")


class Platform(StrEnum):
    """What GRUB is built for, by GRUB's own names."""

    BIOS = "i386-pc"
    EFI = Machine.X64.names.grub
    EFI_IA32 = Machine.IA32.names.grub
    EFI_ARM64 = Machine.AA64.names.grub

    @property
    def removable_path(self) -> str:
        """Where on an EFI system partition the firmware of any machine looks for its program."""
        return machine_of_grub(self).boot_program

    @property
    def is_efi(self) -> bool:
        """Whether the core image is an EFI program."""
        return self is not Platform.BIOS


# Everything that our configuration needs is in the core image.
_NEEDED = ("part_gpt", "part_msdos", "search", "search_fs_uuid", "normal", "configfile")
# What some platforms do without, or what a configuration may or may not use.
_USEFUL = (
    *("linux", "serial", "terminal", "echo", "test", "boot", "gzio", "minicmd", "reboot", "halt"),
    *("ls", "sleep", "all_video"),
)
_EFI_FIRST = ("fat", "efi_gop")
_OPTIONAL = {*_USEFUL, "efi_gop"} - {"linux", "boot"}
_READING = ("ext2", "fat")  # file systems that every GRUB reads
_IMAGES = {  # by whether it is for EFI: what core images are made of
    True: ("kernel.img",),
    False: ("kernel.img", "boot.img", "diskboot.img", "lzma_decompress.img"),
}
FILE_SYSTEM_MODULES = {  # the modules that read them
    "ext4": "ext2",
    "btrfs": "btrfs",
    "xfs": "xfs",
    "f2fs": "f2fs",
    "vfat": "fat",
}
_PACKAGES = {
    Platform.BIOS: ("grub-pc-bin", "grub2"),
    Platform.EFI: ("grub-efi-amd64-bin", "grub2_efi"),
    Platform.EFI_IA32: ("grub-efi-ia32-bin", "pkgsi686Linux.grub2_efi"),
    Platform.EFI_ARM64: ("grub-efi-arm64-bin", "pkgsCross.aarch64-multiplatform.grub2_efi"),
}

# What grub-install copies besides the modules (grub_install_copy_files in GRUB's
# util/grub-install-common.c), and for BIOS the boot sector.
_DATA = (
    *("moddep.lst", "command.lst", "fs.lst", "partmap.lst", "parttool.lst", "video.lst"),
    *("crypto.lst", "terminal.lst", "modinfo.sh"),
)
_DATA_OF_SOME = ("efiemu32.o", "efiemu64.o")
_SHOWN = 5  # files of many that are missing
_FONT = "unicode.pf2"
_THEME = "starfield"
_SHARED = (f"share/grub/{_FONT}", f"share/grub/themes/{_THEME}", "share/locale")


@dataclass(frozen=True, slots=True)
class Grub:
    """GRUB for one platform: the host directory of its modules, and the grub-mkimage to use."""

    platform: Platform
    modules: Path
    mkimage: Path
    store_path: str | None = None  # of the closure, where it came from that

    @property
    def boot_img(self) -> bytes:
        """The boot sector code for BIOS (boot.img)."""
        return (self.modules / "boot.img").read_bytes()


def find_grub(platform: Platform, store: Store, paths: Iterable[str]) -> Grub:
    """Find GRUB in the store paths given, in their order, else on the host.

    Modules that are incomplete are passed over, with a warning where there are others.
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
            f"{_where(platform)}"
        )
    return found


def find_further(
    platform: Platform, store: Store, paths: Iterable[str], *, host: bool
) -> Grub | None:
    """GRUB for firmware that need not be served: from the store paths given, or from the `host`.

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
    """The first that is complete; adds a line to `incomplete` for each that is not."""
    for path, modules in candidates:
        if missing := _missing(platform, modules):
            incomplete.append(_lacking(platform, modules, missing))
            continue
        for line in incomplete:
            log.warning("%s; instead %s is used", line, modules)
        return _with_mkimage(platform, modules, path)
    return None


def _missing(platform: Platform, modules: Path) -> list[str]:
    """The files that a directory of modules lacks and every GRUB has."""
    needed = {*_core_modules(platform), *_READING} - _OPTIONAL
    names = [*_files_of(platform), *_IMAGES[platform.is_efi], *(f"{name}.mod" for name in needed)]
    return sorted(name for name in {*names} if not (modules / name).is_file())


def _files_of(platform: Platform) -> tuple[str, ...]:
    """What is copied besides the modules."""
    return _DATA if platform.is_efi else (*_DATA, "boot.img")


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


def make_core_image(grub: Grub, boot_uuid: str, file_system: str, prefix: str) -> bytes:
    """Build GRUB's core image: core.img for BIOS, or the EFI program.

    It reads its configuration from `prefix` on the file system of the kind `file_system` that
    has `boot_uuid`, which for FAT is such as `ABCD-1234`. Raises RequestError when a module is
    missing, HostError when grub-mkimage fails.
    """
    modules = _modules(grub, file_system)
    with scratch_directory() as scratch:
        early, core = Path(scratch) / "early.cfg", Path(scratch) / "core"
        early.write_text(f"search.fs_uuid {boot_uuid} root\nset prefix=($root){prefix}\n")
        where: list[process.Arg] = ["-d", grub.modules, "-p", prefix, "-c", early, "-o", core]
        process.run(
            [grub.mkimage, "-O", grub.platform, *where, *modules],
            what=f"building GRUB's core image for {grub.platform}",
            limit=_LIMIT,
        )
        return core.read_bytes()


def grub_module_files(grub: Grub) -> list[tuple[str, Path]]:
    """The files of GRUB's own that grub-install puts below /boot/grub, where a menu finds them.

    Each is a path relative to /boot/grub and a file of this host. Left out is what grub-install
    makes itself: `<platform>/core.img` or `<platform>/core.efi`, and grubenv. Raises HostError
    when one is missing that every GRUB has.
    """
    share = grub.modules.parents[2] / "share"
    names = [*(file.name for file in grub.modules.glob("*.mod")), *_files_of(grub.platform)]
    files = {f"{grub.platform}/{name}": grub.modules / name for name in names}
    if missing := sorted(file.name for file in files.values() if not file.is_file()):
        raise HostError(_lacking(grub.platform, grub.modules, missing))
    further = {f"{grub.platform}/{name}": grub.modules / name for name in _DATA_OF_SOME}
    further[f"fonts/{_FONT}"] = share / "grub" / _FONT
    theme = share / "grub" / "themes" / _THEME
    if (theme / "theme.txt").is_file():
        further |= {f"themes/{_THEME}/{file.name}": file for file in theme.iterdir()}
    for file in (share / "locale").glob("*/LC_MESSAGES/grub.mo"):
        further[f"locale/{file.parents[1].name}.mo"] = file
    files |= {name: file for name, file in further.items() if file.is_file()}
    return sorted(files.items())


def version(grub: Grub) -> str:
    """The release of GRUB that the modules are of, as nixpkgs has it: `2.06`, `2.12-rc1`.

    It is in modinfo.sh, beside them. Raises RequestError when it is not.
    """
    file = grub.modules / "modinfo.sh"
    try:
        text = file.read_text(errors="replace")
    except OSError as error:
        raise RequestError(f"GRUB's modules are incomplete: {reason(error)}") from None
    found = re.search(r'^grub_version="([0-9.]+)(?:[~-]((?:rc|beta)[0-9]*))?', text, re.MULTILINE)
    if found is None:
        raise RequestError(f"{file} does not tell the version of GRUB")
    return "-".join(part for part in found.groups() if part)


def _modules(grub: Grub, file_system: str) -> list[str]:
    """The modules of a core image; raises RequestError when needed ones are missing."""
    wanted = [*_core_modules(grub.platform), FILE_SYSTEM_MODULES[file_system]]
    present = [name for name in dict.fromkeys(wanted) if (grub.modules / f"{name}.mod").is_file()]
    if missing := sorted({*wanted} - {*present} - _OPTIONAL):
        names = [f"{name}.mod" for name in missing]
        raise RequestError(_lacking(grub.platform, grub.modules, names))
    return present


def _core_modules(platform: Platform) -> tuple[str, ...]:
    """The modules of any core image for a platform, if there are such."""
    return (*(_EFI_FIRST if platform.is_efi else ("biosdisk",)), *_NEEDED, *_USEFUL)


def _lacking(platform: Platform, modules: Path, names: list[str]) -> str:
    shown = names[:_SHOWN] if len(names) > _SHOWN + 1 else names
    more = f" and {len(names) - _SHOWN} more files" if len(names) > len(shown) else ""
    return f"GRUB for {platform} in {modules} lacks {', '.join(shown)}{more}: {_where(platform)}"


def _where(platform: Platform) -> str:
    debian, nixpkgs = _PACKAGES[platform]
    return f"they are in the package {debian} (Debian) or {nixpkgs} (nixpkgs)"


def _in_closure(
    platform: Platform, store: Store, paths: Iterable[str]
) -> Iterator[tuple[str, Path]]:
    for path in paths:
        # nixpkgs installs to the store path itself, a distribution's package below usr/.
        for prefix in (path, f"{path}/usr"):
            modules = f"{prefix}/lib/grub/{platform}"
            try:
                found = store.resolve(f"{modules}/{_MODULE_LIST}")
            except AbsentError:
                continue
            # The directory may be a link, which leads into the store of the image.
            modules = posixpath.dirname(found)
            installation = modules.removesuffix(f"/lib/grub/{platform}")
            if store.is_file(found) and store_path_of(installation) is not None:
                # Out of an export comes only what was asked for; these are looked for beside it.
                for beside in (f"bin/{_MKIMAGE}", *_SHARED):
                    host_tree(store, f"{installation}/{beside}")
                yield path, host_tree(store, modules)


def _on_host(platform: Platform) -> Iterator[tuple[None, Path]]:
    prefixes = [_HOST_PREFIX]
    for directory in programs.search_path().split(os.pathsep):
        program = Path(directory or ".") / _MKIMAGE
        if os.path.isfile(program):  # unlike Path.is_file, false in an unreadable directory
            prefixes.append(program.resolve().parent.parent)
    for prefix in dict.fromkeys(prefixes):
        modules = prefix / "lib" / "grub" / platform
        if os.path.isfile(modules / _MODULE_LIST):
            yield None, modules


def _beside(modules: Path) -> Iterator[Path]:
    """The grub-mkimage of the same installation, below `<prefix>/lib/grub/<platform>`."""
    program = modules.parents[2] / "bin" / _MKIMAGE
    if os.path.isfile(program):
        yield program
