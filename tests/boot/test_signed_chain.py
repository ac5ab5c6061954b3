"""Signed EFI programs: each is where its predecessor looks for it, and wrong sets are refused.

Without these tests, Secure Boot can stop because a program is not where the one before looks for
it.
"""

import shutil
import struct
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assembler.binaries.core_image import CoreImage
from assembler.binaries.efi_program import EfiProgram
from assembler.boot.grub.find import find_grub
from assembler.boot.grub.grub import Platform, make_core_image
from assembler.boot.signed.chain import SignedChain, read_efi_programs
from assembler.boot.signed.role import ProgramRole
from assembler.errors import RequestError
from assembler.filesystems.f2fs import F2FS
from assembler.filesystems.kind import Kind
from assembler.filesystems.registry import KINDS
from assembler.machines import Machine
from assembler.store.paths import StoreRoot
from tests.support.efi_programs import (
    FALLBACK,
    GRUB_IA32,
    MOK_MANAGER,
    SHIM,
    SIGNED_GRUB,
    SYSTEMD_BOOT,
    Signer,
    other_program,
    without_signatures,
)
from tests.support.helpers import output

STUB = b"search.fs_uuid ABCD-1234 root\nset prefix=($root)/grub\nconfigfile $prefix/grub.cfg\n"
Copy = Callable[[Path, str], Path]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Makes a copy of a program, with another name."""

    def make(program: Path, name: str) -> Path:
        return Path(shutil.copy(program, tmp_path / name))

    return make


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return other_program(tmp_path / "other.efi")


def esp(*paths: Path) -> dict[str, bytes | Path]:
    return {file.path: file.source for file in read_efi_programs(paths).files("ABCD-1234", "/grub")}


def problems(*paths: Path) -> list[str]:
    with pytest.raises(RequestError) as caught:
        read_efi_programs(paths)
    return list(caught.value.problems)


def test_shim_and_grub_go_where_each_looks_for_the_next() -> None:
    assert esp(SHIM, SIGNED_GRUB) == {
        "EFI/BOOT/BOOTX64.EFI": SHIM,
        "EFI/BOOT/grub.cfg": STUB,
        "EFI/BOOT/grubx64.efi": SIGNED_GRUB,
        "EFI/debian/grub.cfg": STUB,
    }


def test_the_mok_manager_is_beside_them() -> None:
    files = esp(SIGNED_GRUB, MOK_MANAGER, SHIM)
    assert files["EFI/BOOT/mmx64.efi"] == MOK_MANAGER
    assert files["EFI/BOOT/BOOTX64.EFI"] == SHIM
    assert [*files] == sorted(files)


def test_a_fallback_makes_entries_for_a_directory_of_their_own() -> None:
    files = esp(SHIM, SIGNED_GRUB, MOK_MANAGER, FALLBACK)
    table = files.pop("EFI/debian/BOOTX64.CSV")
    assert files == {
        "EFI/BOOT/BOOTX64.EFI": SHIM,
        "EFI/BOOT/fbx64.efi": FALLBACK,
        "EFI/debian/grub.cfg": STUB,
        "EFI/debian/grubx64.efi": SIGNED_GRUB,
        "EFI/debian/mmx64.efi": MOK_MANAGER,
        "EFI/debian/shimx64.efi": SHIM,
    }
    theirs = Path("/usr/lib/shim/BOOTX64.CSV").read_text("utf-16-le")
    assert isinstance(table, bytes)
    assert table.decode("utf-16-le") == theirs.replace("debian", "NixOS")


def test_without_a_prefix_the_directory_is_that_of_nixos(other: Path) -> None:
    files = esp(SHIM, other, FALLBACK)
    assert [*files] == [
        "EFI/BOOT/BOOTX64.EFI",
        "EFI/BOOT/fbx64.efi",
        "EFI/NixOS-boot/BOOTX64.CSV",
        "EFI/NixOS-boot/grubx64.efi",
        "EFI/NixOS-boot/shimx64.efi",
    ]


def test_any_single_program_is_started_by_the_firmware(other: Path) -> None:
    assert esp(other) == {"EFI/BOOT/BOOTX64.EFI": other}


def test_a_grub_without_a_shim_is_too(copy: Copy) -> None:
    grub = copy(SIGNED_GRUB, "grubx64.efi")
    assert esp(grub) == {
        "EFI/BOOT/BOOTX64.EFI": grub,
        "EFI/BOOT/grub.cfg": STUB,
        "EFI/debian/grub.cfg": STUB,
    }


def test_a_shim_may_start_another_program(other: Path) -> None:
    assert esp(SHIM, other) == {
        "EFI/BOOT/BOOTX64.EFI": SHIM,
        "EFI/BOOT/grubx64.efi": other,
    }


def test_other_names_make_no_other_disk(copy: Copy) -> None:
    programs = [SHIM, SIGNED_GRUB, MOK_MANAGER, FALLBACK]
    renamed = [copy(program, f"{name}.efi") for name, program in enumerate(programs)]
    names = ("grub", "mm", "fb", "shim")
    mixed = [copy(p, f"{name}.efi") for name, p in zip(names, programs, strict=True)]
    wanted = esp(*programs)
    for others in (renamed, mixed):
        back = dict(zip(others, programs, strict=True))
        found = esp(*reversed(others))
        assert {
            path: back[source] if isinstance(source, Path) else source
            for path, source in found.items()
        } == wanted


@pytest.mark.parametrize("others", [[], [SHIM]])
def test_systemd_boot_is_refused(copy: Copy, others: list[Path]) -> None:
    program = copy(SYSTEMD_BOOT, "grubx64.efi")
    assert problems(program, *others) == [
        f"efi_binaries {program} is systemd-boot, which does not read GRUB's menu: use "
        "boot_loader systemd-boot"
    ]


def test_one_given_twice_counts_once(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(SHIM)
    assert esp(SHIM, SIGNED_GRUB, SHIM, link, SIGNED_GRUB) == esp(SHIM, SIGNED_GRUB)


def test_what_cannot_be_read_is_not_missed_as_well(tmp_path: Path) -> None:
    grub = tmp_path / "grubx64.efi"
    grub.write_bytes(SIGNED_GRUB.read_bytes()[:100_000])
    [problem] = problems(SHIM, MOK_MANAGER, grub)
    assert problem.startswith(f"efi_binaries {grub}: it is cut short: 100000 bytes, but section ")


def test_each_machine_has_its_own(copy: Copy) -> None:
    ia32 = copy(GRUB_IA32, "grub-anything.efi")
    files = esp(SHIM, SIGNED_GRUB, ia32)
    assert files["EFI/BOOT/BOOTIA32.EFI"] == ia32
    assert files["EFI/BOOT/BOOTX64.EFI"] == SHIM
    assert files["EFI/BOOT/grubx64.efi"] == SIGNED_GRUB


def test_nothing_given_is_nothing() -> None:
    assert esp() == {}


def test_what_we_sign_ourselves_is_taken(tmp_path: Path) -> None:
    grub = find_grub(Platform(Machine.X64), StoreRoot(), [])
    program = tmp_path / "core.efi"
    program.write_bytes(make_core_image(grub, "ABCD-1234", "fat", "/grub"))
    signed = Signer(tmp_path).sign(program, tmp_path / "grubx64.efi.signed")
    assert esp(signed) == {
        "EFI/BOOT/BOOTX64.EFI": signed,
        "EFI/BOOT/grub.cfg": STUB,
        "grub/grub.cfg": STUB,
    }


def test_each_problem_is_told(copy: Copy, other: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.efi"
    text.write_text("no program")
    bare = without_signatures(SHIM, tmp_path / "shimx64.efi.signed")
    absent, grub = tmp_path / "absent", tmp_path / "grubx64.efi"
    other.rename(grub)
    again = copy(SIGNED_GRUB, "again.efi")
    assert problems(text, absent, tmp_path, bare, grub, again) == [
        f"efi_binaries {text}: it is not an EFI program (no MZ header)",
        f"efi_binaries {absent}: No such file or directory",
        f"efi_binaries {tmp_path}: it is not a regular file",
        f"efi_binaries {bare} has no signature, though its name ends in .signed",
        f"efi_binaries {grub} and {again} are for the same machine and the same part: "
        "name only one",
        f"efi_binaries {grub} is no usable GRUB: it is not GRUB, or holds no modules",
    ]


def test_a_shim_needs_what_it_starts() -> None:
    assert problems(SHIM, MOK_MANAGER) == [
        f"efi_binaries {SHIM} starts another program: name that as well, such as a signed "
        "grubx64.efi"
    ]


@pytest.mark.parametrize("helper", [MOK_MANAGER, FALLBACK])
@pytest.mark.parametrize("others", [[], [SIGNED_GRUB]])
def test_what_helps_a_shim_needs_one(helper: Path, others: list[Path]) -> None:
    assert problems(helper, *others) == [
        f"efi_binaries {helper} is of use to a shim alone: name that as well, shimx64.efi"
    ]


def test_a_grub_with_damaged_modules_is_told(tmp_path: Path) -> None:
    data = GRUB_IA32.read_bytes()
    program = tmp_path / "any.efi"
    # The size in front of the first of the modules (struct grub_module_header).
    at = data.index(b"mimg" + struct.pack("<I", 12)) + 12 + 4
    program.write_bytes(data[:at] + b"\xff\xff\xff\x7f" + data[at + 4 :])
    assert problems(program) == [
        f"efi_binaries {program} is no usable GRUB: its list of modules is damaged"
    ]


def test_the_version_is_that_of_grub(other: Path) -> None:
    printed = output("grub-mkimage", "--version").decode().split()[-1]
    for programs in ([SHIM, SIGNED_GRUB], [GRUB_IA32]):
        assert read_efi_programs(programs).version == printed.partition("-")[0]
    assert read_efi_programs([other]).version == ""


def test_a_third_program_has_no_place(other: Path) -> None:
    assert problems(SIGNED_GRUB, other, SHIM) == [
        f"efi_binaries {other} has no place between {SHIM}, which starts a single program, and "
        f"{SIGNED_GRUB}: leave one of them out"
    ]


@pytest.mark.parametrize("file_system", KINDS, ids=attrgetter("name"))
def test_debians_grub_reads_every_file_system(file_system: Kind) -> None:
    assert read_efi_programs([SHIM, SIGNED_GRUB]).problems(file_system) == []


def test_a_grub_that_cannot_read_its_configuration_is_told(tmp_path: Path, other: Path) -> None:
    program = tmp_path / "grubx64.efi"
    where = ["-d", "/usr/lib/grub/x86_64-efi", "-p", "/EFI/BOOT", "-o", str(program)]
    output("grub-mkimage", "-O", "x86_64-efi", *where, "fat", "normal", "configfile")
    signed = read_efi_programs([program])
    assert signed.problems(F2FS) == [
        f"{program} was built without search_fs_uuid, f2fs and so cannot read its configuration "
        "from f2fs: take another file system for /boot, or another GRUB"
    ]
    assert read_efi_programs([other]).problems(F2FS) == []


def configurations(prefix: str | None) -> set[str]:
    """Where the stub is for a GRUB that was built with a prefix."""
    program = EfiProgram(Path("grubx64.efi"), Machine.X64, is_signed=True)
    core = CoreImage("x86_64-efi", prefix, None, False, ())
    files = SignedChain(Machine.X64, {ProgramRole.GRUB: program}, core).files(b"")
    return {*files} - {"EFI/BOOT/BOOTX64.EFI"}


@pytest.mark.parametrize(
    ("prefix", "place"),
    [
        ("/EFI/debian", "EFI/debian/grub.cfg"),
        ("/efi/Fedora/", "EFI/Fedora/grub.cfg"),
        ("/boot//grub", "boot/grub/grub.cfg"),
        ("(hd0,gpt1)/grub", "grub/grub.cfg"),
        ("(,gpt2)/grub2", "grub2/grub.cfg"),
        ("/efi/boot", None),
        ("/EFI/BOOT/", None),
        ("/EFI/./debian", "EFI/debian/grub.cfg"),
        ("(hd0)", None),
        ("", None),
        (None, None),
        ("/", None),
        ("/EFI/../..", None),
        ("/a\nb", None),
        ("/a:b", None),
    ],
)
def test_the_stub_is_where_grub_was_built_to_look(prefix: str | None, place: str | None) -> None:
    assert configurations(prefix) == {"EFI/BOOT/grub.cfg"} | ({place} if place else set())


@given(st.text(st.characters(codec="latin-1"), max_size=40))
@example("(memdisk)/boot/grub")
def test_no_prefix_leads_out_of_the_esp(prefix: str) -> None:
    for path in configurations(prefix):
        assert not {"", "..", "."} & {*path.split("/")}
        assert path.endswith("/grub.cfg")
        assert len({name.casefold() for name in configurations(prefix)}) == len(
            configurations(prefix)
        )
