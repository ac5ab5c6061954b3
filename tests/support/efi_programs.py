"""EFI programs of the distribution, and what can be made of them with sbsigntool."""

from pathlib import Path

from tests.support.helpers import output

SHIM = Path("/usr/lib/shim/shimx64.efi.signed")
MOK_MANAGER = Path("/usr/lib/shim/mmx64.efi.signed")
FALLBACK = Path("/usr/lib/shim/fbx64.efi.signed")
SIGNED_GRUB = Path("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")
GRUB = Path("/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi")
GRUB_IA32 = Path("/usr/lib/grub/i386-efi/monolithic/grubia32.efi")
SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")


class Signer:
    """A key and its certificate, made in a directory."""

    def __init__(self, directory: Path) -> None:
        self._key, self._certificate = directory / "key.pem", directory / "certificate.pem"
        subject = ["-subj", "/CN=assemble tests", "-days", "30"]
        where: list[str | Path] = ["-keyout", self._key, "-out", self._certificate]
        output("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *where)

    def sign(self, program: Path, target: Path) -> Path:
        """A copy of a program, with one signature more."""
        keys: list[str | Path] = ["--key", self._key, "--cert", self._certificate]
        output("sbsign", *keys, "--output", target, program)
        return target


def other_program(target: Path) -> Path:
    """An EFI program that is no part of GRUB, shim or systemd-boot: it has lost all marks of it."""
    marks = [".sdmagic", ".sbat", ".osrel"]
    output("objcopy", *(f"--remove-section={name}" for name in marks), SYSTEMD_BOOT, target)
    mark = b"#### LoaderInfo: systemd-boot "  # newer releases have it among their data, too
    target.write_bytes(target.read_bytes().replace(mark, b"x" * len(mark)))
    return target


def grub_version(program: Path, scratch: Path) -> str:
    """The release in a GRUB's section .sbat: lines of component, level, vendor, name, release."""
    section = scratch / "sbat"
    output("objcopy", "-O", "binary", "--only-section=.sbat", program, section)
    lines = [line.split(",") for line in section.read_text().splitlines()]
    [version] = [line[4] for line in lines if line[0] == "grub"]
    return version


def without_signatures(program: Path, target: Path) -> Path:
    """A copy of a program that has lost all signatures."""
    target.write_bytes(program.read_bytes())
    while "issuers" in signatures(target):
        output("sbattach", "--remove", target)
    return target


def signatures(program: Path) -> str:
    """What sbverify lists."""
    return output("sh", "-c", 'sbverify --list "$0" 2>/dev/null || true', program).decode()
