"""A FAT gets its names unchanged, or they are refused before anything is written.

Without these tests, a menu can name a file that has another name on the FAT.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.check.fat_part import check_fat
from assembler.check.part import Part
from assembler.filesystems.fat.directory import FatError, put_names, read_names
from assembler.filesystems.fat.fat import Fat, fat_problems, write_fat
from assembler.filesystems.fat.names import fold, name_problems, stand_ins, units, with_one_case
from assembler.host.process import search_path
from assembler.units import MIB

OFFSET = MIB


def fat(names: Sequence[str], size: int = 40 * MIB) -> Fat:
    files = {name: name.encode(errors="replace") for name in names}
    return Fat(offset=OFFSET, size=size, files=files, volume_id=1, label="ESP", epoch=1, what="ESP")


def make(tmp_path: Path, names: Sequence[str], size: int = 40 * MIB) -> Path:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(OFFSET + size)
    write_fat(image, fat(names, size))
    return image


def tool(*argv: str | Path, charset: str = "C.UTF-8") -> str:
    environment = {"PATH": search_path(), "HOME": "/nonexistent", "LC_ALL": charset}
    done = subprocess.run(argv, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.decode(errors="replace")


NAMES = [
    "loader/entries/nixos-generation-1-specialisation-ünï.conf",
    "ünï",
    "é.txt",
    "ü",
    "日本語/日本.efi",
    "Z\u0308",
    "emoji \U0001f600",
    "a[b]c/d[e].x",
    "ReadMe",
    "readme2",
    " lead",
    ".hidden",
    "con.conf",
    "x~1+y=z,w;v",
    "n" * 195,
    "ü" * 195,
]


@pytest.mark.parametrize("size", [20 * MIB, 40 * MIB])
def test_names_arrive_as_they_are(tmp_path: Path, size: int) -> None:
    image = make(tmp_path, NAMES, size)
    found = {one.path for one in read_names(image, OFFSET)}
    directories = {"loader", "loader/entries", "日本語", "a[b]c"}
    assert found == {*NAMES} | directories
    copy = tmp_path / "copy"
    with image.open("rb") as file:
        file.seek(OFFSET)
        copy.write_bytes(file.read())
    tool("fsck.fat", "-n", copy)
    # GRUB reads long names as firmware does.
    listed = tool("grub-fstest", copy, "ls", "(loop0)/").split("\n")
    words = " ".join(listed)
    for name in ("ünï", "é.txt", "Z\u0308", "emoji \U0001f600", "日本語/"):
        assert name in words
    for name in ("ünï", "日本語/日本.efi"):
        assert tool("grub-fstest", copy, "cat", f"(loop0)/{name}") == name


def test_mtools_sees_them_under_utf_8(tmp_path: Path) -> None:
    image = make(tmp_path, NAMES[:1])
    assert f"::/{NAMES[0]}" in tool("mdir", "-/", "-b", "-i", f"{image}@@{OFFSET}", "::/")


def test_the_same_bytes_in_every_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    one = make(tmp_path, NAMES).read_bytes()
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert make(tmp_path / "other", NAMES).read_bytes() == one


def test_a_check_sees_names_in_another_character_set(tmp_path: Path) -> None:
    name = "specialisation-ünï.conf"
    image = make(tmp_path, [name])
    part = Part(1, "ESP", "ef", OFFSET, 40 * MIB)
    assert not check_fat(image, part, tmp_path, "ESP").fault
    (tmp_path / f"other-{name}").touch()
    tool("mcopy", "-i", f"{image}@@{OFFSET}", tmp_path / f"other-{name}", "::/", charset="C")
    assert check_fat(image, part, tmp_path, "ESP").fault == (
        "the FAT has a file 'other-specialisation-Ã¼nÃ¯.conf', the UTF-8 of "
        "'other-specialisation-ünï.conf' taken as Latin-1"
    )


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *((f"a{char}b", f"{char!r} is reserved") for char in '"*:<>?\\|\n\x7f'),
        ("trailing.", "it ends with a dot or a space"),
        ("dir /x", "it ends with a dot or a space"),
        ("CON", "it is the name of a device"),
        ("d/lpt1", "it is the name of a device"),
        ("n" * 256, "the name has 256 characters, and the longest has 255"),
        ("\U0001f600" * 128, "the name has 256 characters, and the longest has 255"),
        ("bad\udcff", "it is not UTF-8"),
    ],
)
def test_names_that_a_fat_cannot_hold(name: str, fault: str) -> None:
    assert fat_problems(fat(["fine", name])) == [
        f"the ESP is a FAT, which cannot hold {name!r}: {fault}"
    ]


@pytest.mark.parametrize("pair", [("d/x-Debug", "D/x-debug"), ("ÜN", "ün"), ("ЖX", "жx")])
def test_names_that_differ_by_case_alone(pair: tuple[str, str]) -> None:
    first, second = sorted(pair)
    assert fat_problems(fat(pair)) == [
        f"the ESP is a FAT, which cannot hold both {first!r} and {second!r}: they differ by case "
        "alone"
    ]


def test_a_file_and_a_directory_of_one_name() -> None:
    assert fat_problems(fat(["efi/x", "EFI"])) == [
        "the ESP cannot have 'EFI' as a file and as a directory"
    ]


def test_directories_that_differ_by_case_alone_are_one(tmp_path: Path) -> None:
    assert with_one_case({"efi/nixos/k": 1, "EFI/BOOT/b": 2, "EFI/NIXOS/j": 3, "top": 4}) == {
        "EFI/NIXOS/k": 1,
        "EFI/BOOT/b": 2,
        "EFI/NIXOS/j": 3,
        "top": 4,
    }
    image = make(tmp_path, ["efi/nixos/k", "EFI/BOOT/b"])
    found = {one.path for one in read_names(image, OFFSET)}
    assert found == {"EFI", "EFI/BOOT", "EFI/BOOT/b", "EFI/nixos", "EFI/nixos/k"}


def test_long_names_that_mtools_finds_no_place_for(tmp_path: Path) -> None:
    """mtools adds one cluster at a time to a directory; one of 512 bytes has 16 entries."""
    long = "n" * 255
    for others in (0, 9, 10, 14, 15):
        names = [*(f"d/F{n}" for n in range(others)), f"d/{long}"]
        problems = fat_problems(fat(names))
        if problems:
            assert problems[0].startswith(f"the ESP cannot hold 'd/{long}' with clusters of 512")
            assert not fat_problems(fat(names, 261 * MIB))
        else:
            make(tmp_path, names)


def test_a_root_directory_that_cannot_grow(tmp_path: Path) -> None:
    names = [f"file{number}.x" for number in range(511)]
    make(tmp_path, names, 20 * MIB)
    assert fat_problems(fat([*names, "more"], 20 * MIB)) == [
        "the ESP has too many files beside each other at its top: take boot_size 33.0 MiB or more"
    ]
    assert not fat_problems(fat([*names, "more"]))


def test_too_many_names_of_one_character() -> None:
    names = [f"d/{char}" for char in "日本語中国"]
    assert fat_problems(fat(names[:4])) == []
    assert name_problems("ESP", names) == ["the ESP can have 4 names like '語' in d, and not 5"]


@settings(max_examples=50)
@given(st.lists(st.text(max_size=3).filter(lambda name: "/" not in name and name), max_size=30))
def test_stand_ins_are_plain_and_as_long(names: list[str]) -> None:
    if name_problems("ESP", names):
        return
    given_names = stand_ins(names)
    assert {*given_names} == {*names}
    assert len({fold(name) for name in given_names.values()}) == len(given_names)
    for name, other in given_names.items():
        assert other.isascii()
        assert units(other) == units(name)


@given(st.binary(min_size=512, max_size=4096))
def test_any_bytes_are_a_fat_or_none(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    image = tmp_path_factory.getbasetemp() / "bytes"
    image.write_bytes(data[:510] + b"\x55\xaa" + data[512:])
    with pytest.raises(FatError):
        read_names(image, 0)


def test_a_directory_that_holds_itself_ends(tmp_path: Path) -> None:
    image = make(tmp_path, ["d/x"])
    content = bytearray(image.read_bytes())
    at = content.index(b"X          ")
    content[at + 11] = 0x10  # a directory, in the cluster of d
    content[at + 26 : at + 28] = content[content.index(b"D          ") + 26 :][:2]
    image.write_bytes(content)
    assert {one.path for one in read_names(image, OFFSET)} >= {"d", "d/x"}


def test_only_names_that_are_there_can_be_replaced(tmp_path: Path) -> None:
    image = make(tmp_path, ["Plain"])
    for names in ({"absent": "x"}, {"Plain": "longer than 13 units"}):
        with pytest.raises(FatError):
            put_names(image, OFFSET, names)
