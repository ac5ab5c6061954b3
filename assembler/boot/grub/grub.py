"""GRUB's own files: its modules, and the core images that grub-mkimage builds of them."""

import re
from dataclasses import dataclass
from pathlib import Path

from assembler.boot.boot_file import BootFile
from assembler.errors import HostError, RequestError, reason
from assembler.host import process
from assembler.host.scratch import scratch_directory
from assembler.machines import GRUB_FOR_BIOS, Machine

_FOR_BIOS = ("grub-pc-bin", "grub2")
_LIMIT = 300  # seconds: grub-mkimage takes less than one


@dataclass(frozen=True, slots=True)
class Platform:
    """What GRUB is built for: the UEFI of a machine, or a BIOS."""

    machine: Machine | None  # None: a BIOS

    def __str__(self) -> str:
        """GRUB's own name for it."""
        return GRUB_FOR_BIOS if self.machine is None else self.machine.facts.grub

    @property
    def is_efi(self) -> bool:
        """Whether the core image is an EFI program."""
        return self.machine is not None

    @property
    def core_name(self) -> str:
        """What grub-install calls the core image."""
        return "core.efi" if self.is_efi else "core.img"

    @property
    def packages(self) -> tuple[str, str]:
        """The packages that have its modules, in Debian and in nixpkgs."""
        return _FOR_BIOS if self.machine is None else self.machine.facts.grub_packages


BIOS = Platform(None)
PLATFORMS = (BIOS, *map(Platform, Machine))

# Everything that our configuration needs is in the core image.
_NEEDED = ("part_gpt", "part_msdos", "search", "search_fs_uuid", "normal", "configfile")
# Some platforms lack these, and not every configuration uses them.
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

# What grub-install copies beside the modules (grub_install_copy_files in GRUB's
# util/grub-install-common.c), and for BIOS the boot sector.
_DATA = (
    *("moddep.lst", "command.lst", "fs.lst", "partmap.lst", "parttool.lst", "video.lst"),
    *("crypto.lst", "terminal.lst", "modinfo.sh"),
)
_DATA_OF_SOME = ("efiemu32.o", "efiemu64.o")
_SHOWN = 5  # files of many that are missing
_FONT = "unicode.pf2"
_THEME = "starfield"
# What is beside the modules of an installation and goes to /boot, below the prefix.
SHARED = (f"share/grub/{_FONT}", f"share/grub/themes/{_THEME}", "share/locale")


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


def missing_files(platform: Platform, modules: Path) -> list[str]:
    """The files of every GRUB that a directory of modules lacks."""
    needed = {*_core_modules(platform), *_READING} - _OPTIONAL
    names = [*_files_of(platform), *_IMAGES[platform.is_efi], *(f"{name}.mod" for name in needed)]
    return sorted(name for name in {*names} if not (modules / name).is_file())


def _files_of(platform: Platform) -> tuple[str, ...]:
    """What is copied beside the modules."""
    return _DATA if platform.is_efi else (*_DATA, "boot.img")


def make_core_image(grub: Grub, boot_uuid: str, reader: str, prefix: str) -> bytes:
    """Build GRUB's core image: core.img for BIOS, or the EFI program.

    It reads its configuration from `prefix` on the file system with `boot_uuid`, which for a FAT
    has the form `ABCD-1234`; `reader` is the module that reads that file system. Raises
    RequestError when a module is missing, HostError when grub-mkimage fails.
    """
    modules = _modules(grub, reader)
    with scratch_directory() as scratch:
        early, core = Path(scratch) / "early.cfg", Path(scratch) / "core"
        early.write_text(f"search.fs_uuid {boot_uuid} root\nset prefix=($root){prefix}\n")
        where: list[process.Arg] = ["-d", grub.modules, "-p", prefix, "-c", early, "-o", core]
        process.run(
            [grub.mkimage, "-O", str(grub.platform), *where, *modules],
            what=f"building GRUB's core image for {grub.platform}",
            limit=_LIMIT,
        )
        return core.read_bytes()


def grub_module_files(grub: Grub) -> list[BootFile]:
    """The files of GRUB's own that grub-install puts below /boot, where a menu finds them.

    Left out is what grub-install makes itself: `grub/<platform>/core.img` or `core.efi`, and
    grubenv. Raises HostError when a file is missing that every GRUB has.
    """
    share = grub.modules.parents[2] / "share"
    names = [*(file.name for file in grub.modules.glob("*.mod")), *_files_of(grub.platform)]
    files = {f"{grub.platform}/{name}": grub.modules / name for name in names}
    if missing := sorted(file.name for file in files.values() if not file.is_file()):
        raise HostError(lacking(grub.platform, grub.modules, missing))
    more = {f"{grub.platform}/{name}": grub.modules / name for name in _DATA_OF_SOME}
    more[f"fonts/{_FONT}"] = share / "grub" / _FONT
    theme = share / "grub" / "themes" / _THEME
    if (theme / "theme.txt").is_file():
        more |= {f"themes/{_THEME}/{file.name}": file for file in theme.iterdir()}
    for file in (share / "locale").glob("*/LC_MESSAGES/grub.mo"):
        more[f"locale/{file.parents[1].name}.mo"] = file
    files |= {name: file for name, file in more.items() if file.is_file()}
    return [BootFile(f"grub/{name}", file) for name, file in sorted(files.items())]


def release_of(grub: Grub) -> str:
    """The release of GRUB that the modules are of, as nixpkgs has it: `2.06`, `2.12-rc1`.

    The file modinfo.sh beside the modules contains it. Raises RequestError if it does not.
    """
    file = grub.modules / "modinfo.sh"
    try:
        text = file.read_text(errors="replace")
    except OSError as error:
        raise RequestError(f"GRUB's modules are incomplete: {reason(error)}") from None
    found = re.search(r'^grub_version="([0-9.]+)(?:[~-]((?:rc|beta)[0-9]*))?', text, re.MULTILINE)
    if found is None:
        raise RequestError(f"{file} does not contain the version of GRUB")
    return "-".join(part for part in found.groups() if part)


def _modules(grub: Grub, reader: str) -> list[str]:
    """The modules of a core image; raises RequestError when needed ones are missing."""
    names = [*_core_modules(grub.platform), reader]
    present = [name for name in dict.fromkeys(names) if (grub.modules / f"{name}.mod").is_file()]
    if missing := sorted({*names} - {*present} - _OPTIONAL):
        names = [f"{name}.mod" for name in missing]
        raise RequestError(lacking(grub.platform, grub.modules, names))
    return present


def _core_modules(platform: Platform) -> tuple[str, ...]:
    """The modules of any core image for a platform; not every GRUB has all."""
    return (*(_EFI_FIRST if platform.is_efi else ("biosdisk",)), *_NEEDED, *_USEFUL)


def lacking(platform: Platform, modules: Path, names: list[str]) -> str:
    shown = names[:_SHOWN] if len(names) > _SHOWN + 1 else names
    more = f" and {len(names) - _SHOWN} more files" if len(names) > len(shown) else ""
    return (
        f"GRUB for {platform} in {modules} lacks {', '.join(shown)}{more}: {package_of(platform)}"
    )


def package_of(platform: Platform) -> str:
    debian, nixpkgs = platform.packages
    return f"they are in the package {debian} (Debian) or {nixpkgs} (nixpkgs)"
