"""Find GRUB, in the closure or on the host, and let it build its core images."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from uuid import UUID

from assembler import process
from assembler.errors import HostError, RequestError
from assembler.store.paths import Store

_MKIMAGE = "grub-mkimage"
_MODULE_LIST = "moddep.lst"  # in every directory of modules
PREFIX = "/boot/grub"  # where the core image looks for grub.cfg in the root file system
_HOST_PREFIX = Path("/usr")

# Everything that the configuration needs is in the core image: /boot/grub holds grub.cfg alone.
_COMMON_MODULES = (
    *("part_gpt", "part_msdos", "search", "search_fs_uuid", "normal", "configfile"),
    *("linux", "serial", "terminal", "echo", "test", "boot", "gzio", "minicmd", "reboot", "halt"),
    *("ls", "sleep", "all_video"),
)


class Platform(StrEnum):
    """What GRUB is built for, by GRUB's own names."""

    BIOS = "i386-pc"
    EFI = "x86_64-efi"


_MODULES = {
    Platform.BIOS: ("biosdisk", *_COMMON_MODULES),
    Platform.EFI: ("fat", "efi_gop", *_COMMON_MODULES),
}
_FILE_SYSTEMS = {"ext4": "ext2", "btrfs": "btrfs", "xfs": "xfs", "f2fs": "f2fs"}  # GRUB's modules
_PACKAGES = {
    Platform.BIOS: ("grub-pc-bin", "grub2"),
    Platform.EFI: ("grub-efi-amd64-bin", "grub2_efi"),
}


@dataclass(frozen=True, slots=True)
class Grub:
    """GRUB for one platform: the host directory of its modules, and the grub-mkimage to use."""

    platform: Platform
    modules: Path
    mkimage: Path

    @property
    def boot_img(self) -> bytes:
        """The boot sector code for BIOS (boot.img)."""
        return (self.modules / "boot.img").read_bytes()


def find_grub(platform: Platform, store: Store, paths: Iterable[str]) -> Grub:
    """Find GRUB in the store paths given, else on the host.

    grub-mkimage is the one beside the modules, so that both are of one version, or the host's
    where that does not run. Raises HostError, saying which package to install.
    """
    modules = next(chain(_in_closure(platform, store, paths), _on_host(platform)), None)
    if modules is None:
        debian, nixpkgs = _PACKAGES[platform]
        raise HostError(
            f"GRUB's modules for {platform} are neither in the closure nor on this host: they are "
            f"in the package {debian} (Debian) or {nixpkgs} (nixpkgs)"
        )
    for program in (*_beside(modules), process.which(_MKIMAGE)):
        if program is not None and _runs(program):
            return Grub(platform, modules, program)
    raise HostError("\n".join(process.require(_MKIMAGE)) or f"{_MKIMAGE} does not run")


def make_core_image(
    grub: Grub, root_uuid: UUID, file_system: str = "ext4", prefix: str = PREFIX
) -> bytes:
    """Build GRUB's core image: core.img for BIOS, or the EFI program.

    It reads its configuration from `prefix` on the file system with `root_uuid`, of the kind
    `file_system`. Raises HostError when grub-mkimage fails.
    """
    with process.scratch_directory() as scratch:
        early, core = Path(scratch) / "early.cfg", Path(scratch) / "core"
        early.write_text(f"search.fs_uuid {root_uuid} root\nset prefix=($root){prefix}\n")
        modules = [*_MODULES[grub.platform], _FILE_SYSTEMS[file_system]]
        where: list[process.Arg] = ["-d", grub.modules, "-p", prefix, "-c", early, "-o", core]
        process.run(
            [grub.mkimage, "-O", grub.platform, *where, *modules],
            what=f"building GRUB's core image for {grub.platform}",
        )
        return core.read_bytes()


def _in_closure(platform: Platform, store: Store, paths: Iterable[str]) -> Iterator[Path]:
    for path in sorted(paths):
        # nixpkgs installs to the store path itself, a distribution's package below usr/.
        for prefix in (path, f"{path}/usr"):
            modules = f"{prefix}/lib/grub/{platform}"
            if _is_file(store, f"{modules}/{_MODULE_LIST}"):
                if _is_file(store, f"{prefix}/bin/{_MKIMAGE}"):
                    store.host(f"{prefix}/bin/{_MKIMAGE}")  # where _beside will look for it
                yield store.host(modules)


def _is_file(store: Store, path: str) -> bool:
    """Whether the image will have a file at a path, links followed."""
    try:
        return store.is_file(store.resolve(path))
    except RequestError:
        return False


def _on_host(platform: Platform) -> Iterator[Path]:
    yield from _modules_below(_HOST_PREFIX, platform)
    for directory in process.search_path().split(os.pathsep):
        program = Path(directory or ".") / _MKIMAGE
        if os.path.isfile(program):  # unlike Path.is_file, false in an unreadable directory
            yield from _modules_below(program.resolve().parent.parent, platform)


def _modules_below(prefix: Path, platform: Platform) -> Iterator[Path]:
    modules = prefix / "lib" / "grub" / platform
    if os.path.isfile(modules / _MODULE_LIST):
        yield modules


def _beside(modules: Path) -> Iterator[Path]:
    """The grub-mkimage of the same installation, below `<prefix>/lib/grub/<platform>`."""
    program = modules.parents[2] / "bin" / _MKIMAGE
    if os.path.isfile(program):
        yield program


def _runs(program: Path) -> bool:
    """Whether a program starts here: one from a closure may be for another machine."""
    try:
        process.run([program, "--version"], what="trying GRUB")
    except HostError:
        return False
    return True
