"""The real `grub-bios-setup` and `grub-install` as oracles, run by an ordinary user."""

from pathlib import Path
from subprocess import run

_BIOS_SETUP = Path("/usr/lib/grub/i386-pc/grub-bios-setup")
_INSTALL = Path("/usr/sbin/grub-install")
_MOUNT_TABLE = b"/proc/self/mountinfo\0"
_OUR_TABLE = b"./././././/mountinfo\0"  # as long
_NO_MATTER = (
    "is under 1 MiB, please increase its size..",
    "Installing for i386-pc platform.",
    "Installation finished. No error reported.",
)


def grub_bios_setup(
    directory: Path, image: Path, boot_img: bytes, core_img: bytes, *options: str
) -> None:
    """Have GRUB install both images onto a disk image, by way of a scratch directory."""
    setup = _program(_BIOS_SETUP, directory, image)
    (directory / "device.map").write_text(f"(hd0) {image}\n")
    (directory / "boot.img").write_bytes(boot_img)
    (directory / "core.img").write_bytes(core_img)
    _run(directory, setup, *options, "-m", "device.map", "-d", ".", image)


def grub_install(directory: Path) -> Path:
    """Have GRUB install itself for BIOS into a scratch directory; returns what is /boot/grub."""
    disk, grub = directory / "disk", directory / "boot" / "grub"
    install = _program(_INSTALL, directory, disk)
    with disk.open("wb") as file:
        file.truncate(1 << 21)
    run(["/sbin/mkfs.ext4", "-q", disk], check=True)
    grub.mkdir(parents=True)
    (grub / "device.map").write_text(f"(hd0) {disk}\n")
    target = ["--target=i386-pc", "--boot-directory=boot", "--no-bootsector"]
    _run(directory, install, *target, disk)
    (grub / "device.map").unlink()
    return grub


def _program(original: Path, directory: Path, image: Path) -> str:
    """A copy of a program that takes the directory for one on the disk.

    The original looks into the mount table. The copy is made to look into one of ours, which
    nobody needs any privilege for.
    """
    directory.mkdir(exist_ok=True)
    (directory / "mountinfo").write_text(f"100 1 8:1 / / rw - ext4 {image} rw\n")
    text = original.read_bytes()
    assert text.count(_MOUNT_TABLE) == 1
    copy = directory / original.name
    copy.write_bytes(text.replace(_MOUNT_TABLE, _OUR_TABLE))
    copy.chmod(0o755)
    return f"./{copy.name}"


def _run(directory: Path, *argv: str | Path) -> None:
    done = run(argv, cwd=directory, capture_output=True, text=True)
    printed = [line for line in done.stderr.splitlines() if not line.endswith(_NO_MATTER)]
    assert (done.returncode, printed) == (0, []), done.stderr
