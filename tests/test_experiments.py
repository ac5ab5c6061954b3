"""The experiments of docs/architecture.md, done with a copy of the program.

Each adds a thing in the files that the table "To add X, open Y" names, and in no other; then a user
of the copy finds the thing, and it works.

Without these tests, facts about one thing spread over rooms, and adding a thing takes more files
than the architecture promises.
"""

import json
import lzma
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from assembler.disk.tables import PartitionType
from assembler.store.paths import StoreRoot
from tests.support.boots import add_settings
from tests.support.builders import SCRIPT, add_builder, builder
from tests.support.helpers import output
from tests.support.places import REPOSITORY
from tests.support.systems import (
    System,
    add_path,
    add_reference,
    made_up_kernel,
    make_system,
    store_path,
)

_TABLE = (REPOSITORY / "docs/architecture.md").read_text().partition("## To add X, open Y")[2]
ROWS = dict(re.findall(r"^\| (?:a|an) (.*?),? ?(?:such as .*?)? \| (.* \| \d+) \|$", _TABLE, re.M))

PRELUDE = """
import json, sys
from pathlib import Path
from assembler import RequestError, RootSpec, Spec, Table, assemble, check_image, plan_image
from assembler.cli.commands import assemble_main

def spec(**options):
    asked = json.loads(sys.argv[1])
    paths = dict(store=Path(asked["store"]), closures=tuple(map(Path, asked["closures"])))
    more = tuple(asked["more"])
    root = RootSpec(system=asked["system"], additional_paths=more, **paths)
    return Spec(root=root, additional_space=0, **{"out": Path("x"), **options})

"""


@dataclass(frozen=True)
class Experiment:
    """What is added: new files, and in old ones what comes behind a piece of text."""

    row: str  # of the table
    new: Mapping[str, str] = field(default_factory=dict)
    edits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def copy(self, place: Path) -> Path:
        """A copy of the program with the new thing; touches what its row names, and no more."""
        named = {*re.findall(r"`([\w/]+(?:\.py|/))`", ROWS[self.row])}
        touched = {*self.edits, *(f"{file.rpartition('/')[0]}/" for file in self.new)}
        assert touched <= named
        assert len(self.new) + len(self.edits) == int(ROWS[self.row].rpartition(" ")[2])
        shutil.copytree(REPOSITORY / "assembler", place / "assembler")
        for name, text in self.new.items():
            (place / "assembler" / name).write_text(text)
        for name, edits in self.edits.items():
            file = place / "assembler" / name
            text = file.read_text()
            for old, more in edits.items():
                assert text.count(old) == 1, (name, old)
                text = text.replace(old, old + more)
            file.write_text(text)
        return place


def run(copy: Path, script: str, system: System, options: Sequence[str] = ()) -> str:
    """What a program prints that uses the copy; `spec` in it makes a Spec for `system`.

    `options` are more closures and paths, as the command takes them.
    """
    pairs = [*zip(*[iter(options)] * 2, strict=True)]
    asked = {
        "system": system.toplevel,
        "store": str(system.root),
        "closures": [str(system.registration), *(b for a, b in pairs if a == "--closure")],
        "more": [b for a, b in pairs if a == "--additional-path"],
    }
    variables = {**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "1000"}
    done = subprocess.run(
        [sys.executable, "-B", "-c", PRELUDE + script, json.dumps(asked)],
        cwd=copy,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"))


def test_the_table_has_seven_experiments_of_three_files_at_most() -> None:
    counts = [int(row.rpartition(" ")[2]) for row in ROWS.values()]
    assert len(counts) == 7
    assert max(counts) <= 3


FORMAT = Experiment(
    "output format",
    new={
        "formats/raw_lzma.py": """
from assembler.formats.compressed import Compressed

class RawLzma(Compressed):
    name = "raw.lzma"
    title = "raw, compressed with LZMA"
    endings = ("raw.lzma",)
    programs = ("xz",)
    marks = ((0, b"\\x5d\\0\\0\\4"),)
    argv = ("xz", "--format=lzma", "-0", "-c")
"""
    },
    edits={
        "formats/registry.py": {
            "from assembler.formats.raw_gz import RawGz\n": (
                "from assembler.formats.raw_lzma import RawLzma\n"
            ),
            "    RawGz(),\n": "    RawLzma(),\n",
        }
    },
)


def test_an_output_format(tmp_path: Path, system: System) -> None:
    """Its file is what the standard library's LZMA reads: an ext4."""
    copy = FORMAT.copy(tmp_path)
    script = """
assemble(spec(out=Path("disk.raw.lzma"), partition_table=Table.NONE))
print(check_image(Path("disk.raw.lzma"), boots=False))
assemble_main(["--help"])
"""
    printed = run(copy, script, system)
    assert "formats=('raw.lzma',)" in printed
    assert "faults=()" in printed
    (copy / "raw").write_bytes(lzma.decompress((copy / "disk.raw.lzma").read_bytes()))
    output("e2fsck", "-fn", copy / "raw")
    assert " raw.lzma, " in printed.partition("--format KIND")[2]


TABLE = Experiment(
    "partition table",
    edits={
        "disk/tables.py": {
            '    HYBRID = "hybrid"\n': '    FULL = "full"\n',
            "_SHAPES: Mapping[Table, _Shape] = {\n": """
    Table.FULL: _Shape(
        Scheme.GPT,
        (
            Slot("no-fs", PartitionType.BIOS_BOOT, FIRST, 2 * MIB),
            Slot("ESP", PartitionType.ESP, 2 * MIB, 40 * MIB),
            Slot("BOOT", PartitionType.XBOOTLDR, 40 * MIB),
        ),
    ),
""",
        }
    },
)


def test_a_partition_table(tmp_path: Path, system: System) -> None:
    """sfdisk reads the partitions, and a bad request gets the new table as a remedy."""
    copy = TABLE.copy(tmp_path)
    script = """
disk = dict(partition_table="full", boot_loader="none", boot_size=40 << 20, out=Path("disk.raw"))
assemble(spec(**disk))
print(*spec(efi_binaries=(Path("/x"),), partition_table=Table.LEGACY).problems())
assemble_main(["--help"])
"""
    printed = run(copy, script, system)
    assert "an EFI system partition: efi, efixbootldr, hybrid or full\n" in printed
    table = json.loads(output("sfdisk", "--json", copy / "disk.raw"))["partitiontable"]
    *boot, root = [(one["start"] >> 11, one["type"].lower()) for one in table["partitions"]]
    types = PartitionType.BIOS_BOOT, PartitionType.ESP, PartitionType.XBOOTLDR
    assert boot == [*zip((1, 2, 40), types, strict=True)]
    assert root == (80, "4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
    assert " hybrid, full or none: " in printed


ROOT_KIND = Experiment(
    "root file system",
    new={
        "filesystems/nilfs2.py": """
from assembler.filesystems.bounds import Bounds
from assembler.filesystems.kind import RootKind
from assembler.filesystems.limits import Limits
from assembler.units import KIB, MIB

NILFS2 = RootKind(
    name="nilfs2",
    title="NILFS2",
    magics=((0x406, b"\\x34\\x34"),),
    grub_module="nilfs2",
    label_bytes=80,
    limits=Limits(names=32000),
    sizes=Bounds(smallest=128 * MIB, fixed=64 * MIB, inode=KIB, per_mille=50),
    make=lambda target, device: [f"mkfs.nilfs2 -q -L {target.label} {device}"],
    mount_options="noatime",
    check="dumpseg",
    appliance_package="nilfs-tools",
)
"""
    },
    edits={
        "filesystems/registry.py": {
            "from assembler.filesystems.kind import Kind, RootKind\n": (
                "from assembler.filesystems.nilfs2 import NILFS2\n"
            ),
            "        F2FS,\n": "        NILFS2,\n",
        }
    },
)


def test_a_root_file_system(tmp_path: Path) -> None:
    """It is offered, its settings are checked, and check-image finds it.

    The system mounts it, and so the remedy for an ext4 is to take it.
    """
    copy = ROOT_KIND.copy(tmp_path / "copy")
    system = make_system(tmp_path / "store", "/dev/disk/by-label/nixos / nilfs2 defaults 0 1\n")
    script = """
bad = spec(file_system="nilfs2", label="x" * 81, writer="direct", subvolumes=(("a", "/"),))
print(*bad.problems(), sep="\\n")
try:
    plan_image(spec())
except RequestError as error:
    print(error)
with open("disk", "wb") as file:
    file.truncate(1 << 20)
    file.seek(0x406)
    file.write(b"\\x34\\x34")
print(check_image(Path("disk"), boots=False).parts[0].kind)
assemble_main(["--help"])
"""
    label, writer, subvolumes, mount, kind, *usage = run(copy, script, system).splitlines()
    assert label.endswith("is not 1 to 80 printable bytes")
    assert writer == "writer direct makes ext4 only: take writer guestfs for nilfs2"
    assert subvolumes == "subvolumes is for file_system btrfs, not nilfs2"
    assert mount.endswith("the root file system of this disk is ext4; take file_system nilfs2")
    assert kind == "nilfs2"
    assert " xfs, f2fs or nilfs2 " in "\n".join(usage)


GRUB_SETTING = Experiment(
    "setting of a boot loader",
    edits={
        "boot/grub/config.py": {
            '    timeout_style: str = "menu"\n': '    locale: str = ""\n',
            "        path=settings.where,\n": '        locale=settings.text("locale"),\n',
        },
        "boot/grub/grub_cfg.py": {
            "        yield from _users(config)\n": (
                '        yield f"set lang={quote(config.locale)}"\n'
            ),
        },
    },
)
SYSTEMD_BOOT_SETTING = Experiment(
    "setting of a boot loader",
    edits={
        "boot/systemd_boot/settings.py": {
            '    builder: str = ""\n': '    enroll: str = ""\n',
            "        builder=path,\n": '        enroll=str(names.get("ENROLL", "")),\n',
        },
        "boot/systemd_boot/entries.py": {
            '    starts = [f"default {default.identifier}"]\n': (
                '    starts += [f"secure-boot-enroll {settings.enroll}"]\n'
            ),
        },
    },
)


def test_a_setting_of_grub(tmp_path: Path) -> None:
    """It is in the system's configuration, and reaches the menu, which GRUB's parser takes."""
    copy, system = GRUB_SETTING.copy(tmp_path / "copy"), make_system(tmp_path / "store")
    add_reference(system, add_settings(StoreRoot(system.root), tmp_path, "5", locale="de"))
    script = """
plan = plan_image(spec(partition_table=Table.NONE, boot_loader="grub"))
print(plan.tree.get(b"/boot/grub/grub.cfg").data.decode())
"""
    menu = run(copy, script, system)
    assert "\nset lang=de\n" in menu
    output("grub-script-check", stdin=menu.encode())


def test_a_setting_of_systemd_boot(tmp_path: Path) -> None:
    """The same in loader.conf."""
    copy = SYSTEMD_BOOT_SETTING.copy(tmp_path / "copy")
    system = make_system(tmp_path / "store", installer=SCRIPT)
    options = add_builder(system, builder().replace("TIMEOUT =", 'ENROLL = "force"\nTIMEOUT ='))
    script = """
[fat] = plan_image(spec(boot_loader="systemd-boot")).fats
print(fat.files["loader/loader.conf"].decode())
"""
    assert "\nsecure-boot-enroll force\n" in run(copy, script, system, options)


TARGET = Experiment(
    "target",
    edits={
        "formats/targets.py": {
            "TARGETS: Mapping[str, Target] = {\n": """
    "exoscale": Target(formats=_QCOW2, machines=_SERIAL_X86, starts=_FIRMWARE),
"""
        }
    },
)


def test_a_target(tmp_path: Path, system: System) -> None:
    """It chooses the format, and refuses what it does not take."""
    copy = TARGET.copy(tmp_path)
    script = """
print(plan_image(spec(target="exoscale", boot_loader="none")).spec.format)
try:
    plan_image(spec(target="exoscale", boot_loader="none", sector_size=4096))
except RequestError as error:
    print(error)
"""
    refusal = "target exoscale has disks with sectors of 512 bytes, not 4096: take sector_size 512"
    assert run(copy, script, system).splitlines() == ["qcow2", refusal]


MACHINE = Experiment(
    "machine",
    edits={
        "machines.py": {
            "    facts: Facts\n": """
    RISCV64 = (
        "riscv64",
        Facts(
            words="RISC-V",
            nix="riscv64-linux",
            linux="riscv",
            has_systems=True,
            has_bios=False,
            pe=0x5064,
            grub="riscv64-efi",
            grub_packages=("grub-efi-riscv64-bin", "pkgsCross.riscv64.grub2_efi"),
            image_magic=b"RSC\\x05",
            root_type="72ec70a6-cf74-40e6-bd49-4bda08e8f224",
        ),
    )
"""
        }
    },
)


def test_a_machine(tmp_path: Path) -> None:
    """Its disk has a table for UEFI alone, its own names on it, and a chain that is followed."""
    copy = MACHINE.copy(tmp_path / "copy")
    program = bytearray(made_up_kernel(100_000, stub=True))
    program[0x38:0x3C], program[0x44:0x46], program[0x202:0x206] = b"RSC\5", b"\x64\x50", bytes(4)
    system = make_system(tmp_path / "store", bzimage=bytes(program), platform="riscv64-linux")
    loader, name = store_path(9, "systemd"), "lib/systemd/boot/efi/systemd-bootriscv64.efi"
    own = bytes(program) + b"#### LoaderInfo: systemd-boot 256 ####"
    registration = add_path(system, loader, {name: own})
    script = """
plan, report = assemble(spec(boot_loader="systemd-boot", out=Path("disk.raw"), boot_size=40 << 20))
print(*plan.fats[0].files, sep="\\n")
print(*(f"{chain.firmware}: {chain.details[0]}" for chain in report.chains), sep="\\n")
"""
    options = ["--closure", str(registration), "--additional-path", loader]
    printed = run(copy, script, system, options).splitlines()
    assert {"EFI/BOOT/BOOTRISCV64.EFI", "EFI/systemd/systemd-bootriscv64.efi"} <= {*printed}
    assert printed[-1].startswith('UEFI (RISC-V): "NixOS": ')
    table = json.loads(output("sfdisk", "--json", copy / "disk.raw"))["partitiontable"]
    assert table["partitions"][1]["type"].lower() == "72ec70a6-cf74-40e6-bd49-4bda08e8f224"


SOURCE = Experiment(
    "closure source",
    new={
        "store/narinfo.py": '''
from assembler.store.registration import PathInfo, parse_hash

def read_narinfos(text):
    """The metadata of a binary cache: blocks of lines with a key and a value."""
    for block in text.strip().split("\\n\\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        references = [f"/nix/store/{name}" for name in fields["References"].split()]
        digest, size = parse_hash(fields["NarHash"]), int(fields["NarSize"])
        yield PathInfo(fields["StorePath"], digest, size, tuple(references))
'''
    },
    edits={
        "store/sources.py": {
            "from assembler.store.export import Receiver, is_export, read_export\n": (
                "from assembler.store.narinfo import read_narinfos\n"
            ),
            '    if not text:\n        raise RequestError(f"{name} is not a registration: it is '
            'empty")\n': '    if text.startswith("StorePath: "):\n'
            "        return [*read_narinfos(text)]\n",
        }
    },
)


def test_a_closure_source(tmp_path: Path, system: System) -> None:
    """It is recognised by its content, and the image has its store paths."""
    copy, blocks = SOURCE.copy(tmp_path), []
    lines = iter(system.registration.read_text().splitlines())
    for path in lines:
        digest, size, _deriver, count = (next(lines) for _ in range(4))
        names = " ".join(next(lines).rpartition("/")[2] for _ in range(int(count)))
        hashes = f"NarHash: sha256:{digest}\nNarSize: {size}"
        blocks.append(f"StorePath: {path}\n{hashes}\nReferences: {names}\n")
    (tmp_path / "cache").write_text("\n".join(blocks))
    asked = System(system.root, system.toplevel, tmp_path / "cache", system.paths)
    script = """
plan = plan_image(spec(boot_loader="none"))
print(*sorted(f"/nix/store/{name.decode()}" for name in plan.tree.store.children))
"""
    assert run(copy, script, asked).split() == sorted(system.paths)
