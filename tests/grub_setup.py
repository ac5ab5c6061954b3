"""The real `grub-bios-setup` as an oracle, run by an ordinary user."""

from pathlib import Path
from subprocess import run

_SETUP = Path("/usr/lib/grub/i386-pc/grub-bios-setup")
_MOUNT_TABLE = b"/proc/self/mountinfo\0"
_OUR_TABLE = b"./././././/mountinfo\0"  # as long
_SMALL = "is under 1 MiB, please increase its size.."  # a warning


def grub_bios_setup(
    directory: Path, image: Path, boot_img: bytes, core_img: bytes, *options: str
) -> None:
    """Have GRUB install both images onto a disk image, by way of a scratch directory.

    It looks the directory up in the mount table, and wants to find it on the disk. A copy of the
    program is made to look into a table that says so, which nobody needs any privilege for.
    """
    directory.mkdir(exist_ok=True)
    program = _SETUP.read_bytes()
    assert program.count(_MOUNT_TABLE) == 1
    setup = directory / "setup"
    setup.write_bytes(program.replace(_MOUNT_TABLE, _OUR_TABLE))
    setup.chmod(0o755)
    (directory / "mountinfo").write_text(f"100 1 8:1 / / rw - ext4 {image} rw\n")
    (directory / "device.map").write_text(f"(hd0) {image}\n")
    (directory / "boot.img").write_bytes(boot_img)
    (directory / "core.img").write_bytes(core_img)
    argv = ["./setup", *options, "-m", "device.map", "-d", ".", str(image)]
    done = run(argv, cwd=directory, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if not line.endswith(_SMALL)]
    assert (done.returncode, said) == (0, [])
