"""Boots a disk image in QEMU, and talks to the machine on its serial console.

    with Machine(Path("disk.raw"), firmware="efi") as machine:
        machine.wait_for("demo: ready", timeout=120)
        machine.write("uname -a\\n")

As a program it gives the console to the terminal: `qemu.py disk.raw --firmware efi`.
"""

import argparse
import functools
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypedDict, Unpack, get_args

Firmware = Literal["bios", "efi"]


class Kernel(NamedTuple):
    """What QEMU starts by itself, without a boot loader."""

    kernel: Path
    initrd: Path
    parameters: str


class Options(TypedDict, total=False):
    """What a machine can be besides the default."""

    firmware: Firmware  # "bios"
    memory: int  # in MiB: 512
    script: bytes  # is on the second disk
    keep: bool  # what the machine writes; else it is lost
    driver: str  # QEMU's name of the first disk's format: "raw"
    sector_size: int  # bytes in a logical block of the first disk: 512
    secure_boot: bool  # UEFI with Microsoft's keys, which starts nothing that they did not sign
    kernel: Kernel


QEMU = "qemu-system-x86_64"
OVMF = Path("/usr/share/OVMF")
SECTOR = 512
TAIL_LINES = 40
# What GRUB and shells send to move the cursor and choose colours (ECMA-48 control sequences).
CONTROL_SEQUENCE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")
_END = bytes.fromhex("b001 e6f4 f4 ebfd")  # mov al, 1; out 0xf4, al; hlt; jmp back to the hlt
_ENDED = 3  # isa-debug-exit: twice the byte, plus one
_PROBE_SECONDS = 1  # emulation takes a fifth of it


class BootError(Exception):
    """The machine did not do what was awaited; `str()` ends with the tail of its console."""


@functools.cache
def accelerator() -> str:
    """ "kvm" where it really works, else "tcg" (emulation).

    /dev/kvm may be there, be ours to open, and then fail, or be slower than emulation. So a machine
    is started from a boot sector that ends QEMU, by the device isa-debug-exit.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    probe = [QEMU, "-accel", "kvm", "-cpu", "max", "-display", "none", "-nodefaults"]
    probe += ["-machine", "pc", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    with tempfile.NamedTemporaryFile(prefix="qemu-") as sector:
        sector.write(_END.ljust(SECTOR - 2, b"\0") + b"\x55\xaa")
        sector.truncate(1 << 20)  # the BIOS finds no geometry for a smaller disk
        drive = f"format=raw,readonly=on,file={_escape(Path(sector.name))},if=none,id=probe"
        probe += ["-drive", drive, "-device", "virtio-blk-pci,drive=probe"]
        try:
            done = subprocess.run(probe, capture_output=True, timeout=_PROBE_SECONDS, check=False)
        except (subprocess.SubprocessError, OSError):
            return "tcg"
    return "kvm" if done.returncode == _ENDED else "tcg"


def command(image: Path, directory: Path, **options: Unpack[Options]) -> list[str]:
    """QEMU's argv without its console; what the machine needs besides goes into `directory`.

    `image` is the first disk. Raises OSError when OVMF is not installed.
    """
    memory = str(options.get("memory", 512))
    # Programs that find vector instructions run twice as long where these are emulated.
    processor = {"kvm": "max", "tcg": "qemu64"}[accelerator()]
    argv = [QEMU, "-accel", accelerator(), "-cpu", processor, "-m", memory]
    argv += ["-nodefaults", "-display", "none", "-vga", "none", "-nic", "none"]
    argv.append("-no-reboot")  # a kernel that panics ends QEMU in place of a loop
    secure_boot = options.get("secure_boot", False)
    if secure_boot or options.get("firmware") == "efi":
        argv += _efi(directory, secure_boot)
    else:
        argv += ["-machine", "pc"]
    if kernel := options.get("kernel"):
        argv += ["-kernel", str(kernel.kernel), "-initrd", str(kernel.initrd)]
        argv += ["-append", kernel.parameters]
    size = options.get("sector_size", SECTOR)
    snapshot = "off" if options.get("keep", False) else "on"
    blocks = f"logical_block_size={size},physical_block_size={size}"
    drive = f"format={options.get('driver', 'raw')},snapshot={snapshot},cache=unsafe"
    argv += _disk("system", image, drive, blocks)
    if script := options.get("script"):
        path = directory / "script"
        path.write_bytes(script + bytes(-len(script) % SECTOR))
        argv += _disk("script", path, "format=raw,readonly=on")
    return argv


def _efi(directory: Path, secure_boot: bool) -> list[str]:
    """OVMF, with its variables in a file of `directory`, since it writes them.

    That with Secure Boot needs system management mode, in which alone variables can be written.
    """
    variables = directory / "OVMF_VARS.fd"
    kept = "OVMF_VARS_4M.ms.fd" if secure_boot else "OVMF_VARS_4M.fd"
    shutil.copyfile(OVMF / kept, variables)
    code = OVMF / ("OVMF_CODE_4M.secboot.fd" if secure_boot else "OVMF_CODE_4M.fd")
    argv = ["-machine", "q35,smm=on" if secure_boot else "q35"]
    if secure_boot:
        argv += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    argv += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={_escape(code)}"]
    return [*argv, "-drive", f"if=pflash,format=raw,unit=1,file={_escape(variables)}"]


def _disk(name: str, path: Path, drive: str, device: str = "") -> list[str]:
    drive = f"if=none,id={name},file={_escape(path)},{drive}"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive={name},{device}".rstrip(",")]


def _escape(path: Path) -> str:
    """A comma ends an option's value in QEMU; two of them are one comma."""
    return str(path).replace(",", ",,")


class Machine:
    """A running QEMU; as a context manager it never leaves one behind.

    All waiting ends: with the match, or with BootError
    after `timeout` seconds or when QEMU ends first.
    """

    def __init__(self, image: Path, **options: Unpack[Options]) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="qemu-")
        self._log = ""
        self._unfinished = b""  # the console's last line, so far
        self._seen = 0  # how much of the log earlier waits have gone past
        self._commands = 0  # how many `run` has run
        directory = Path(self._directory.name)
        try:
            argv = command(image, directory, **options)
            self._qemu = subprocess.Popen(
                [*argv, "-serial", "stdio"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": self._directory.name},  # for snapshot=on
            )
        except BaseException:
            self._directory.cleanup()
            raise

    @property
    def log(self) -> str:
        """Every complete line of the console so far, without control sequences."""
        return self._log

    def wait_for(self, pattern: str, *, timeout: float) -> re.Match[str]:
        """The first match of a regular expression in the log, past the match before it.

        `^` and `$` match at every line. Only complete lines are looked at: half a line matches
        what the whole does not.
        """
        deadline = time.monotonic() + timeout
        expression = re.compile(pattern, re.MULTILINE)
        while not (match := expression.search(self._log, self._seen)):
            if not self._read(deadline):
                raise self._error(f"{pattern!r} did not come", timeout, deadline)
        self._seen = match.end()
        return match

    def wait_off(self, *, timeout: float) -> None:
        """Waits until the machine has powered itself off."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        try:
            status = self._qemu.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self._error("the machine is still on", timeout, deadline) from None
        if status != 0:
            raise BootError(f"QEMU ended with status {status}\n{self._tail()}")

    def write(self, text: str) -> None:
        """Types `text` on the console."""
        assert self._qemu.stdin is not None
        self._qemu.stdin.write(text.encode())
        self._qemu.stdin.flush()

    def run(self, command: str, *, timeout: float) -> str:
        """What a command prints in the shell that waits on the console; BootError if it fails.

        No line of the command may have 4096 bytes, of which the console would lose the rest.
        """
        if self._commands == 0:  # let the console show nothing but what commands print
            self.write("stty -echo; set +o emacs; PS1= PS2=; dmesg --console-level 1\n")
        self._commands += 1
        number = self._commands
        self.write(f"printf 'begin-%d\\n' {number}\n")
        self.write(f"{{ {command}\n}} < /dev/null 2>&1; printf '\\nend-%d %d\\n' {number} $?\n")
        start = self.wait_for(f"^begin-{number}\n", timeout=timeout).end()
        end = self.wait_for(rf"^end-{number} (\d+)$", timeout=timeout)
        printed = self._log[start : end.start()].strip("\n")
        if end[1] != "0":
            raise BootError(f"{command!r} failed with status {end[1]}:\n{printed}")
        return printed

    def _read(self, deadline: float) -> bool:
        """Adds to the log what the console prints next; False at the deadline or at its end."""
        assert self._qemu.stdout is not None
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._qemu.stdout], [], [], left)[0]:
            return False
        piece = os.read(self._qemu.stdout.fileno(), 1 << 16)
        lines, newline, self._unfinished = (self._unfinished + piece).rpartition(b"\n")
        text = CONTROL_SEQUENCE.sub(b"", lines + newline).replace(b"\r", b"")
        self._log += text.decode(errors="replace")
        return bool(piece)

    def _error(self, what: str, timeout: float, deadline: float) -> BootError:
        late = time.monotonic() >= deadline
        why = f"within {timeout:g} s" if late else f"before QEMU ended ({self._qemu.poll()})"
        return BootError(f"{what} {why}; the console ends with:\n{self._tail()}")

    def _tail(self) -> str:
        last = self._unfinished.decode(errors="replace")
        return "\n".join([*deque(self._log.splitlines(), TAIL_LINES), last])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._qemu.kill()
        self._qemu.communicate()
        self._directory.cleanup()


def main() -> int:
    """Boots an image on this terminal; gives QEMU's exit status."""
    parser = argparse.ArgumentParser(description="Boot a disk image on this terminal.")
    parser.add_argument("image", type=Path)
    parser.add_argument("--firmware", choices=get_args(Firmware), default="bios")
    parser.add_argument("--memory", type=int, default=512, metavar="MIB")
    given = parser.parse_args()
    print(f"Booting {given.image} ({given.firmware}, {accelerator()}); what it writes is lost.")
    print("Ctrl-A X ends it.", flush=True)
    with tempfile.TemporaryDirectory(prefix="qemu-") as directory:
        argv = command(given.image, Path(directory), firmware=given.firmware, memory=given.memory)
        # Ctrl-C goes to the machine: QEMU puts the terminal into raw mode.
        return subprocess.call(
            [*argv, "-serial", "mon:stdio"], env={**os.environ, "TMPDIR": directory}
        )


if __name__ == "__main__":
    sys.exit(main())
