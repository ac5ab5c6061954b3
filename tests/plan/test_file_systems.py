"""Every file of a boot loader is where the firmware, GRUB or systemd-boot looks for it.

Without these tests, a kernel or a menu can be on a partition where nothing looks for it.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

from assembler.host.process import search_path
from assembler.store.paths import StoreRoot
from assembler.units import MIB
from tests.support.boots import add_settings
from tests.support.builders import SCRIPT, TOOL, add_builder, builder
from tests.support.places import ASSEMBLE
from tests.support.systems import System, add_reference, make_system, store_path

ESP, XBOOTLDR = 8 * MIB, 100 * MIB
KERNEL = "11111111111111111111111111111111-linux-bzImage"
INITRD = "22222222222222222222222222222222-initrd-initrd"
EFI = {"EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/BOOTIA32.EFI"}  # the host of the tests has both GRUBs
GRUB = {"grub/grub.cfg", "grub/grubenv", "grub/state", "grub/x86_64-efi/normal.mod"}
SYSTEMD = {"EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"}
COPIES = {f"EFI/nixos/{KERNEL}.efi", f"EFI/nixos/{INITRD}.efi"}
ENTRIES = {"loader/entries/nixos-generation-1.conf", *COPIES}
UUID, GUID = "12345678-9abc-4def-8123-456789abcdef", "2f0c4a4e-5b6d-4e1f-8a90-b1c2d3e4f506"
NAME_OF_ROOT = 'a"b\\c, ü'
KERNELS = {f"kernels/{KERNEL}", f"kernels/{INITRD}"}


@pytest.fixture
def linux(demo_system: str) -> bytes:
    """A real kernel: systemd-boot starts EFI programs only."""
    return Path(demo_system, "kernel").read_bytes()


def fstab(**mounts: str) -> str:
    """Mounts of FATs by their labels: boot="ESP" is one at /boot."""
    rows = [f"/dev/disk/by-label/{label} /{place} vfat x" for place, label in mounts.items()]
    return "\n".join(["/dev/disk/by-label/nixos / ext4 defaults 0 1", *rows, ""])


def run(*argv: str | Path) -> str:
    environment = {"PATH": search_path(), "MTOOLS_SKIP_CHECK": "1", "HOME": "/nonexistent"}
    done = subprocess.run(
        [str(arg) for arg in argv], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assemble(
    tmp_path: Path, *options: str, mounts: str = "", kernel: bytes | None = None
) -> tuple[System, Path]:
    system = make_system(tmp_path / "store", mounts, kernel)
    out = tmp_path / "disk.raw"
    run(ASSEMBLE, "--out", out, *system.options, "--boot-size", "64M", *options)
    return system, out


def files(image: Path, offset: int) -> set[str]:
    """The files of a FAT, as mtools lists them."""
    everything = ["mdir", "-/", "-b", "-i", f"{image}@@{offset}", "::/"]
    if b"No files" in subprocess.run(everything[:1] + everything[3:], capture_output=True).stdout:
        return set()  # which mdir -b takes for an error
    listed = run(*everything).splitlines()
    return {name.removeprefix("::/") for name in listed if not name.endswith("/")}


def of_grub(found: set[str]) -> set[str]:
    """Without GRUB's own files, but for one."""
    return {
        name
        for name in found
        if not re.match("grub/(?:[a-z0-9_]+-(?:pc|efi)|fonts|locale|themes)/", name)
        or name == "grub/x86_64-efi/normal.mod"
    }


def fat_text(image: Path, offset: int, path: str) -> str:
    return run("mtype", "-i", f"{image}@@{offset}", f"::/{path}")


def label(image: Path, offset: int) -> str:
    probe = ["blkid", "--probe", "--offset", str(offset), "-o", "value", "-s", "LABEL"]
    return run(*probe, image).strip()


def uuid(image: Path, offset: int) -> str:
    probe = ["blkid", "--probe", "--offset", str(offset), "-o", "value", "-s", "UUID"]
    return run(*probe, image).strip()


def grub_lists(image: Path, path: str) -> set[str]:
    return set(run("grub-fstest", image, "ls", path).split())


@pytest.mark.parametrize(
    ("table", "device"), [("legacy", "msdos1"), ("legacy+gpt", "gpt2"), ("hybrid", "gpt3")]
)
def test_without_a_mount_boot_is_a_directory_of_the_root(
    tmp_path: Path, table: str, device: str
) -> None:
    system, image = assemble(tmp_path, "--partition-table", table)
    boot = f"(loop0,{device})/boot"
    assert {"grub.cfg", "grubenv", "state", "i386-pc/"} <= grub_lists(image, f"{boot}/grub/")
    assert {"normal.mod", "boot.img", "core.img"} <= grub_lists(image, f"{boot}/grub/i386-pc/")
    menu = run("grub-fstest", image, "cat", f"{boot}/grub/grub.cfg")
    assert f"linux ($drive2){system.paths[0]}/bzImage init={system.toplevel}/init" in menu
    if table == "hybrid":
        assert files(image, ESP) == EFI


def test_boot_is_the_efi_system_partition_where_the_system_mounts_it_there(tmp_path: Path) -> None:
    _, image = assemble(tmp_path, "--partition-table", "efi", mounts=fstab(boot="BOOT-ESP"))
    assert of_grub(files(image, ESP)) == EFI | GRUB | KERNELS
    assert label(image, ESP) == "BOOT-ESP"
    menu = fat_text(image, ESP, "grub/grub.cfg")
    assert f"search --set=drive1 --fs-uuid {uuid(image, ESP)}\n" in menu
    assert f"linux ($drive1)//kernels/{KERNEL} " in menu
    assert grub_lists(image, "(loop0,gpt2)/boot/") <= {"./", "../"}


def test_a_fat_has_the_serial_number_that_the_system_mounts_it_by(tmp_path: Path) -> None:
    mounts = "/dev/disk/by-uuid/12AB-CD34 /boot vfat x\nUUID=0000-0001 /efi vfat x\n"
    _, image = assemble(tmp_path, "--partition-table", "efixbootldr", mounts=mounts)
    assert (uuid(image, ESP), uuid(image, XBOOTLDR)) == ("0000-0001", "12AB-CD34")
    assert "search --set=drive1 --fs-uuid 12AB-CD34\n" in fat_text(image, XBOOTLDR, "grub/grub.cfg")


def test_partitions_have_the_names_that_the_system_mounts_them_by(tmp_path: Path) -> None:
    name = NAME_OF_ROOT.replace(" ", "\\040").replace("\\c", "\\134c")
    mounts = (
        "/dev/disk/by-partlabel/disk-main-ESP /boot/efi vfat x\n"
        f"PARTLABEL={name} / ext4 x\n"
        f"PARTUUID={GUID} / ext4 x\n"
        f"/dev/disk/by-uuid/{UUID} / ext4 x\n"
        "LABEL=a\\040b / ext4 x\n"
    )
    options = ("--partition-table", "efi", "--disk-guid", GUID.replace("2", "7"))
    _, image = assemble(tmp_path, *options, mounts=mounts)
    table = json.loads(run("sfdisk", "--json", image))["partitiontable"]
    assert table["id"].lower() == GUID.replace("2", "7")
    assert table["partitions"][0]["name"] == "disk-main-ESP"
    root = table["partitions"][1]
    assert root["uuid"].lower() == GUID
    assert f"Partition name: '{NAME_OF_ROOT}'" in run("sgdisk", "--info=2", image)
    start = root["start"] * 512
    assert (label(image, start), uuid(image, start)) == ("a b", UUID)
    menu = run("grub-fstest", image, "cat", "(loop0,gpt2)/boot/grub/grub.cfg")
    assert f"search --set=drive1 --fs-uuid {UUID}\n" in menu


def test_an_mbr_has_the_signature_that_the_system_mounts_the_root_by(tmp_path: Path) -> None:
    mounts = "PARTUUID=0badcafe-01 / ext4 x\n"
    _, image = assemble(tmp_path, "--partition-table", "legacy", mounts=mounts)
    assert "label-id: 0x0badcafe\n" in run("sfdisk", "--dump", image)


def test_what_the_disk_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store", "LABEL=b / ext4 x\n/dev/vdb1 /srv ext4 x\n")
    command = [ASSEMBLE, "--plan", "--out", tmp_path / "x", *system.options]
    done = subprocess.run([*command, "--label", "a"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith(
        "the system mounts / from LABEL=b, but --label is a: the root file system can have one "
        "label only; leave --label out\n"
    )
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.count("the system mounts /srv from /dev/vdb1; ") == 1
    assert "root: ext4 b (" in done.stdout
    for boot_loader in ("none", "system"):
        argv = [*command, "--label", "a", "--boot-loader", boot_loader]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == (0 if boot_loader == "none" else 2), done.stderr


def test_boot_by_bios_from_the_efi_system_partition(tmp_path: Path) -> None:
    _, image = assemble(tmp_path, "--partition-table", "hybrid", mounts=fstab(boot="ESP"))
    assert GRUB | KERNELS | {"grub/i386-pc/boot.img"} <= files(image, ESP)


def test_a_mount_elsewhere_leaves_boot_in_the_root(tmp_path: Path) -> None:
    mounts = fstab(**{"boot/efi": "SYSTEM"})
    _, image = assemble(tmp_path, "--partition-table", "efi", mounts=mounts)
    assert files(image, ESP) == EFI
    assert label(image, ESP) == "SYSTEM"
    assert "grub.cfg" in grub_lists(image, "(loop0,gpt2)/boot/grub/")


def test_boot_is_the_partition_for_kernels_where_there_is_one(tmp_path: Path) -> None:
    _, image = assemble(tmp_path, "--partition-table", "efixbootldr", mounts=fstab(efi="MY-ESP"))
    assert files(image, ESP) == EFI
    assert of_grub(files(image, XBOOTLDR)) == GRUB | KERNELS
    assert (label(image, ESP), label(image, XBOOTLDR)) == ("MY-ESP", "BOOT")


def test_systemd_boot_has_all_on_the_efi_system_partition(tmp_path: Path, linux: bytes) -> None:
    system, image = assemble(tmp_path, "--boot-loader", "systemd-boot", kernel=linux)
    assert files(image, ESP) == SYSTEMD | ENTRIES | {"loader/loader.conf"}
    entry = fat_text(image, ESP, "loader/entries/nixos-generation-1.conf")
    assert f"linux /EFI/nixos/{KERNEL}.efi\n" in entry
    assert f"options init={system.toplevel}/init console=ttyS0,115200\n" in entry
    kernel = tmp_path / "kernel"
    run("mcopy", "-i", f"{image}@@{ESP}", f"::/EFI/nixos/{KERNEL}.efi", kernel)
    assert kernel.read_bytes() == linux


def test_systemd_boot_has_kernels_on_the_partition_for_them(tmp_path: Path, linux: bytes) -> None:
    options = ("--boot-loader", "systemd-boot", "--partition-table", "efixbootldr")
    _, image = assemble(tmp_path, *options, kernel=linux)
    assert files(image, ESP) == SYSTEMD | {"loader/loader.conf"}
    assert files(image, XBOOTLDR) == ENTRIES


def test_the_systems_own_settings_of_systemd_boot_hold(tmp_path: Path, linux: bytes) -> None:
    system = make_system(tmp_path / "store", fstab(efi="ESP", boot="BOOT"), linux, SCRIPT)
    install = f"{store_path(24, 'coreutils')}/bin/install -Dp {TOOL} /boot/EFI/memtest/m.efi"
    text = builder(esp="/efi", timeout="3", editor="")
    more = add_builder(system, text, extra=install, files={TOOL: linux})
    out = tmp_path / "disk.raw"
    run(ASSEMBLE, "--out", out, *system.options, *more, "--boot-size", "64M")
    assert files(out, ESP) == SYSTEMD | {"loader/loader.conf"}
    [name] = files(out, XBOOTLDR) - COPIES - {"EFI/memtest/m.efi"}
    default = name.removeprefix("loader/entries/")
    assert fat_text(out, ESP, "loader/loader.conf") == (
        f"timeout 3\ndefault {default}\neditor 0\nconsole-mode max\n"
    )
    assert "title My Own OS\n" in fat_text(out, XBOOTLDR, name)


def test_no_boot_loader_leaves_its_partitions_empty(tmp_path: Path) -> None:
    _, image = assemble(tmp_path, "--boot-loader", "none", "--partition-table", "efixbootldr")
    assert files(image, ESP) == files(image, XBOOTLDR) == set()
    assert grub_lists(image, "(loop0,gpt3)/boot/") <= {"./", "../"}


def test_an_mbr_may_have_a_fat_for_boot(tmp_path: Path) -> None:
    """As make-disk-image.nix lays `legacy+boot` out, with copies of the kernels."""
    mounts = fstab(boot="BOOT")
    _, image = assemble(tmp_path, "--partition-table", "legacy+boot", mounts=mounts)
    expected = {"grub/grub.cfg", "grub/grubenv", "grub/state", *KERNELS}
    assert of_grub(files(image, MIB)) == expected
    menu = fat_text(image, MIB, "grub/grub.cfg")
    assert f"linux ($drive1)//kernels/{KERNEL} " in menu
    assert grub_lists(image, "(loop0,msdos2)/boot/") <= {"./", "../"}
    assert "BOOT" in run("mlabel", "-s", "-i", f"{image}@@{MIB}", "::")
    run(ASSEMBLE.with_name("check-image"), image)


def test_a_bare_file_system_may_have_a_menu_for_a_grub_from_outside(tmp_path: Path) -> None:
    options = ("--partition-table", "none", "--boot-loader", "grub")
    _, image = assemble(tmp_path, *options)
    assert grub_lists(image, "(loop0)/boot/grub/") == {"grub.cfg", "grubenv", "state"}
    printed = run(ASSEMBLE.with_name("check-image"), image)
    assert "\nGRUB from outside: the ext4, /boot/grub/grub.cfg -> 2 entries\n" in printed
    state = run("grub-fstest", image, "cat", "(loop0)/boot/grub/state").splitlines()
    assert state[2] == "neither"


def test_a_password_among_the_contents_locks_the_menu(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    users = {"root": {"hashedPasswordFile": "/etc/grub-pw"}}
    add_reference(system, add_settings(StoreRoot(system.root), tmp_path, "5", users=users))
    (tmp_path / "secrets").mkdir()
    secret = "grub.pbkdf2.sha512.10000.AB.CD"
    (tmp_path / "secrets/hash").write_text(f"{secret}\n")
    (tmp_path / "link").symlink_to("secrets/hash-of-root")  # which is in the image alone
    (tmp_path / "secrets/hash-of-root").symlink_to("/etc/secrets/hash")
    rows = {"/etc/secrets": tmp_path / "secrets", "/etc/grub-pw": tmp_path / "link"}
    contents = [{"target": target, "source": str(source)} for target, source in rows.items()]
    (tmp_path / "contents.json").write_text(json.dumps(contents))
    out = tmp_path / "disk.raw"
    command = [ASSEMBLE, "--out", out, *system.options, "--partition-table", "legacy"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert (refused.returncode, out.exists()) == (2, False)
    assert "user 'root': the password is in /etc/grub-pw, which is not in the" in refused.stderr
    run(*command, "--contents", tmp_path / "contents.json")
    menu = run("grub-fstest", out, "cat", "(loop0,msdos1)/boot/grub/grub.cfg")
    assert f"\npassword_pbkdf2 root {secret}\nset superusers=" in menu


def test_generations_are_in_the_menu(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    out = tmp_path / "disk.raw"
    command = [ASSEMBLE, "--out", out, *system.options, "--generation", f"7={system.toplevel}"]
    run(*command, "--generation", f"3={system.toplevel}", "--partition-table", "legacy")
    menu = run("grub-fstest", out, "cat", "(loop0,msdos1)/boot/grub/grub.cfg")
    assert re.findall('^ *menuentry "([^"]*)"', menu, re.MULTILINE) == [
        "NixOS",
        "NixOS - Configuration 7 (1970-01-01 - 23.05.tiny)",
        "NixOS - Configuration 3 (1970-01-01 - 23.05.tiny)",
    ]


def test_the_same_bytes_for_every_table(tmp_path: Path) -> None:
    for table, boot in (("legacy", {}), ("efixbootldr", {"boot": "ESP"}), ("none", {})):
        system = make_system(tmp_path / f"store-{table}", fstab(**boot))
        images = [tmp_path / "a", tmp_path / "b"]
        for image in images:
            run(ASSEMBLE, "--out", image, *system.options, "--partition-table", table)
        run("cmp", *images)
