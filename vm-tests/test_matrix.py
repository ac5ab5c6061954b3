"""The demo boots from every partition table, by every firmware and boot loader that can start it.

Each time the system's own installer finds nothing to install, and writes the menu that is there:
this tool makes what the installer would have made. On some disks the installer then takes over.

Without these tests, a disk can fail to boot with one firmware, or with any after the first rebuild.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from installer import (
    GRUB_BIOS,
    GRUB_EFI,
    INSTALL,
    PROFILE,
    SWITCH,
    announced,
    commands,
    installed,
)
from qemu import Firmware, Kernel, Machine
from tests.support.kernel_parameters import BY_GRUB

BOOT_SECONDS = 180
COMMAND_SECONDS = 60
MEMORY = 256  # MiB
INSTALL_MEMORY = 512  # GRUB's own installer puts 280 modules into it, and Nix its database
KERNEL_PARAMS = ["console=ttyS0,115200", "panic=-1", "loglevel=4", "no_timer_check"]
SECURE_MEMORY = 512  # with less, Linux does not come up after a Secure Boot

SPECIALISATION = "calm"
# What is in the menu for want of a setting, and not from NixOS.
SERIAL = [
    ["serial", "--unit=0", "--speed=115200"],
    ["terminal_input", "--append", "serial"],
    ["terminal_output", "--append", "serial"],
]
FIRST_ENTRY = "NixOS - Default"
GRUBENV = "/boot/grub/grubenv"

SHIM = Path("/usr/lib/shim")
SIGNED = [
    SHIM / "shimx64.efi.signed",
    SHIM / "mmx64.efi.signed",
    Path("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"),
]
# An EFI variable follows four bytes of attributes; the GUID is that of UEFI 2.10, 3.3.
SECURE_BOOT = (
    "modprobe efivarfs && mount -t efivarfs efivarfs /sys/firmware/efi/efivars && "
    "od -An -tu1 -j4 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
)


@dataclass(frozen=True)
class DemoImage:
    """An image to make: options of `assemble`, and for the demo."""

    table: str
    boot_loader: str = "grub"
    boot: str = "root"  # where the demo has /boot
    efi: str = "only"  # what the demo installs GRUB for
    sector_size: int = 512
    signed: bool = False
    # No setting for the serial port, on which GRUB's menu is to appear, and a specialisation.
    special: bool = False
    params: tuple[str, ...] = ()  # more kernel parameters
    root: str = ""  # how the demo's fstab names the root; empty: by its label
    # The lines that the installer prints when it installs; a second generation then takes over.
    installing: tuple[str, ...] = ()
    # Whether the boot loader of this tool starts the second generation before it is replaced.
    starts_second: bool = False

    def __str__(self) -> str:
        words = [self.table, self.boot_loader]
        words += [f"boot on {self.boot}"] if self.boot != "root" else []
        words += [str(self.sector_size)] if self.sector_size != 512 else []
        words += ["signed"] if self.signed else []
        return ", ".join([*words, *(["take-over"] if self.installing else [])])

    def is_taken_over(self, firmware: Firmware) -> bool:
        """Whether the installer takes over on a machine with this firmware; the last one does."""
        bios = self.table == "hybrid" or self.table.startswith("legacy")
        return bool(self.installing) and firmware == ("bios" if bios else "efi")

    @property
    def options(self) -> list[str | Path]:
        """The options of `assemble`."""
        options: list[str | Path] = ["--partition-table", self.table]
        options += ["--sector-size", str(self.sector_size)]
        if self.boot_loader == "none":  # another one is what the demo is configured with
            options += ["--boot-loader", self.boot_loader]
        for file in SIGNED if self.signed else []:
            options += ["--efi-binary", file]
        return options

    @property
    def parameters(self) -> dict[str, str]:
        """The arguments of the demo's expression."""
        loader = "systemd-boot" if self.boot_loader == "systemd-boot" else "grub"
        parameters = {"bootLoader": loader, "boot": self.boot, "efi": self.efi}
        if self.root:
            parameters["rootDevice"] = self.root
        if self.params:
            parameters["moreParams"] = json.dumps(self.params)
        if self.special:
            parameters |= {"grubExtraConfig": "", "specialisation": SPECIALISATION, "timeout": "1"}
        return parameters

    @property
    def mounts(self) -> set[str]:
        """Where the machine has FAT file systems mounted."""
        if self.table == "legacy+boot":
            return {"/boot"}
        if "efi" not in self.table and self.table != "hybrid":
            return set()
        return {"root": {"/boot/efi"}, "esp": {"/boot"}, "xbootldr": {"/boot", "/efi"}}[self.boot]


LEGACY = DemoImage("legacy", efi="no", special=True, installing=(GRUB_BIOS,))
HYBRID = DemoImage(
    "hybrid",
    efi="both",
    installing=(GRUB_BIOS, GRUB_EFI.format("/boot/efi")),
    starts_second=True,
)
HYBRID_ESP = DemoImage("hybrid", boot="esp", efi="both")
BY_NAME = DemoImage(
    "efi",
    boot="esp",
    root="/dev/disk/by-partlabel/disk-main-root",
    params=("root=PARTLABEL=disk-main-root",),
    installing=(GRUB_EFI.format("/boot"),),
)
SYSTEMD_BOOT = DemoImage(
    "efi",
    "systemd-boot",
    boot="esp",
    params=tuple(BY_GRUB),
    installing=("installing systemd-boot into /boot...",),
    starts_second=True,
)

ROWS: list[tuple[DemoImage, Firmware]] = [
    (DemoImage("legacy+gpt", efi="no", installing=(GRUB_BIOS,)), "bios"),
    (DemoImage("legacy+boot", boot="xbootldr", efi="no"), "bios"),
    (HYBRID, "efi"),
    (HYBRID, "bios"),
    (HYBRID_ESP, "bios"),
    (HYBRID_ESP, "efi"),
    (BY_NAME, "efi"),
    (DemoImage("efi", sector_size=4096), "efi"),
    (SYSTEMD_BOOT, "efi"),
    (DemoImage("efi", "systemd-boot", boot="esp", sector_size=4096), "efi"),
    (DemoImage("efixbootldr", boot="xbootldr", installing=(GRUB_EFI.format("/efi"),)), "efi"),
    (DemoImage("efixbootldr", "systemd-boot", boot="xbootldr"), "efi"),
]


@dataclass(frozen=True)
class Made:
    """An image, what it was made as, and the toplevels in it; the second is no generation yet."""

    disk: DemoImage
    path: Path
    system: str
    second: str


Make = Callable[[DemoImage], Made]


@pytest.fixture(scope="module")
def make(
    assemble_command: Path,
    demo_variant: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Make]:
    """Makes an image as a DemoImage describes it, unless it is the one that was made last."""
    assert os.geteuid() != 0, "an image made by root proves nothing"
    out = tmp_path_factory.mktemp("matrix") / "disk.raw"
    file, contents = out.with_name("file"), out.with_name("contents.json")
    file.write_text("of the contents")
    last: list[Made] = []

    def make(disk: DemoImage) -> Made:
        if not last or last[-1].disk != disk:
            system = demo_variant(**disk.parameters)
            second = ""
            argv: list[str | Path] = [assemble_command, "--out", out, "--system", system]
            if disk.installing:
                second = demo_variant(**disk.parameters, label="23.05.second")
                argv += ["--additional-path", second]
            targets = [f"{place}/row" for place in sorted(disk.mounts or {"/boot"})]
            rows = [{"source": str(file), "target": target} for target in targets]
            contents.write_text(json.dumps(rows))
            argv += ["--contents", contents]
            subprocess.run([*argv, *disk.options], check=True, timeout=600)
            last.append(Made(disk, out, system, second))
        return last[-1]

    yield make
    out.unlink(missing_ok=True)


def check(machine: Machine, made: Made, firmware: Firmware) -> None:
    """What is true of every machine that has come up."""

    def run(command: str) -> str:
        return machine.run(command, timeout=COMMAND_SECONDS)

    assert run("[ -d /sys/firmware/efi ] && echo efi || echo bios") == firmware
    assert set(run("sed -n 's/^[^ ]* \\([^ ]*\\) vfat .*/\\1/p' /proc/mounts").split()) == (
        made.disk.mounts
    )
    for place in made.disk.mounts or {"/boot"}:
        assert run(f"cat {place}/row") == "of the contents"
    size = run("cat /sys/block/vda/queue/logical_block_size")
    assert size == str(made.disk.sector_size)
    printed = BY_GRUB if made.disk.boot_loader == "grub" else {}
    params = [*KERNEL_PARAMS, *(printed.get(param, param) for param in made.disk.params)]
    assert f" {run('cat /proc/cmdline')} ".endswith(f" {' '.join(params)} ")
    assert not run("dmesg | { grep -E 'EXT4-fs (error|warning)|FAT-fs|I/O error' || :; }")


def check_installer(machine: Machine, made: Made) -> None:
    """The system's own installer has nothing to install, and writes what is there already."""
    listing = "find /boot /efi -type f ! -name grub.cfg -exec stat -c '%n %s %a %Y' {} + | sort"
    if made.disk.mounts:  # a FAT has times in steps of two seconds
        listing += "; find /boot/loader /efi/loader -type f -exec sha256sum {} + | sort"
    listing = f"{{ {listing}; }} 2>/dev/null"
    systemd_boot = made.disk.boot_loader == "systemd-boot"
    read_menu = "true" if systemd_boot else "cat /boot/grub/grub.cfg"
    before = machine.run(listing, timeout=COMMAND_SECONDS)
    ours = machine.run(read_menu, timeout=COMMAND_SECONDS)
    printed = machine.run(SWITCH, timeout=COMMAND_SECONDS)
    assert printed == ("" if systemd_boot else "updating GRUB 2 menu...")
    after = machine.run(listing, timeout=COMMAND_SECONDS)
    theirs = machine.run(read_menu, timeout=COMMAND_SECONDS)
    assert ("/loader/loader.conf" if systemd_boot else "/boot/grub/state") in before
    if systemd_boot:  # written anew, with the same words
        before, after = (
            re.sub(r"(?m)^(\S*/loader/.*) \d+$", r"\1", one) for one in (before, after)
        )
    assert after == before
    check_menu(ours, theirs, made)


def check_menu(ours: str, theirs: str, made: Made) -> None:
    """Two writers made the same menu, but for what lets GRUB talk on the serial port."""
    if made.disk.boot_loader == "systemd-boot":
        return
    assert ours != theirs  # or it is one writer
    menu = commands(ours)
    if made.disk.special:
        assert [words for words in menu if words in SERIAL] == SERIAL
        menu = [words for words in menu if words not in SERIAL]
    assert menu == commands(theirs)
    assert sum(words[0] == "menuentry" for words in menu) == (4 if made.disk.special else 2)


@contextmanager
def started(made: Made, firmware: Firmware, system: str) -> Iterator[Machine]:
    """A machine that has come up with `system`; one that is taken over keeps what it writes."""
    keep = made.disk.is_taken_over(firmware)
    memory = INSTALL_MEMORY if keep else MEMORY
    size = made.disk.sector_size
    with Machine(
        made.path, firmware=firmware, memory=memory, sector_size=size, keep=keep
    ) as machine:
        machine.wait_for(f"^demo: ready {re.escape(system)}$", timeout=BOOT_SECONDS)
        yield machine
        if keep:
            machine.write("exit\n")
            machine.wait_off(timeout=COMMAND_SECONDS)


def switch(machine: Machine, made: Made) -> None:
    """Make the second system a generation: the installer writes the menu and installs nothing."""
    run = partial(machine.run, timeout=COMMAND_SECONDS)
    look = installed(made.disk.table)
    ours = run(look)
    run(f"nix-env --profile {PROFILE} --set {made.second}")
    assert announced(run(SWITCH)) == []
    assert run(look) == ours


def install(machine: Machine, made: Made) -> str:
    """Let the installer of the second generation install; returns what is installed then."""
    run = partial(machine.run, timeout=COMMAND_SECONDS)
    look = installed(made.disk.table)
    ours = run(look)
    assert announced(run(INSTALL)) == list(made.disk.installing)
    theirs = run(look)
    if made.disk.boot_loader == "grub":  # systemd-boot is one program, whoever copies it
        assert theirs != ours
    assert announced(run(SWITCH)) == []
    assert run(look) == theirs
    return theirs


def check_second(machine: Machine, made: Made) -> str:
    """The second generation runs; returns the boot loader that is installed."""
    run = partial(machine.run, timeout=COMMAND_SECONDS)
    assert f"init={made.second}/init" in run("cat /proc/cmdline").split()
    assert run(f"readlink {PROFILE}") == "system-2-link"
    return run(installed(made.disk.table))


@pytest.mark.parametrize(("disk", "firmware"), ROWS, ids=str)
def test_boots(
    make: Make, disk: DemoImage, firmware: Firmware, record_property: Callable[[str, object], None]
) -> None:
    made = make(disk)
    began = time.monotonic()
    with started(made, firmware, made.system) as machine:
        record_property("boot", f"{time.monotonic() - began:.1f} s")
        check(machine, made, firmware)
        check_installer(machine, made)
        if not disk.is_taken_over(firmware):
            return
        switch(machine, made)
        ours = machine.run(installed(disk.table), timeout=COMMAND_SECONDS)
        if not disk.starts_second:
            theirs = install(machine, made)
    if disk.starts_second:
        with started(made, firmware, made.second) as machine:
            assert check_second(machine, made) == ours
            theirs = install(machine, made)
    with started(made, firmware, made.second) as machine:
        assert check_second(machine, made) == theirs


def test_the_menu_on_the_serial_port_boots_a_specialisation_when_asked(
    make: Make, record_property: Callable[[str, object], None]
) -> None:
    """On a legacy disk, too, which is then taken over."""
    made = make(LEGACY)
    began = time.monotonic()
    with started(made, "bios", made.system) as machine:
        record_property("boot", f"{time.monotonic() - began:.1f} s")
        assert FIRST_ENTRY in machine.log
        check(machine, made, "bios")
        run = partial(machine.run, timeout=COMMAND_SECONDS)
        assert run(f"grub-editenv {GRUBENV} list") == ""
        run(f"grub-editenv {GRUBENV} set next_entry=1")

    inner = os.path.realpath(f"{made.system}/specialisation/{SPECIALISATION}")
    with started(made, "bios", inner) as machine:
        assert FIRST_ENTRY in machine.log
        run = partial(machine.run, timeout=COMMAND_SECONDS)
        assert f"demo.specialisation={SPECIALISATION}" in run("cat /proc/cmdline").split()
        assert run(f"grub-editenv {GRUBENV} list") == "next_entry="  # once is enough
        check_installer(machine, made)
        switch(machine, made)
        theirs = install(machine, made)

    with started(made, "bios", made.second) as machine:
        assert FIRST_ENTRY not in machine.log  # NixOS's menu is not on the serial port by default
        assert check_second(machine, made) == theirs


def test_a_bare_file_system_boots_with_a_kernel_from_outside(
    make: Make, record_property: Callable[[str, object], None]
) -> None:
    made = make(DemoImage("none", boot_loader="none", efi="no"))
    system = Path(made.system)
    parameters = f"init={system}/init {(system / 'kernel-params').read_text()}"
    kernel = Kernel(system / "kernel", system / "initrd", parameters)
    began = time.monotonic()
    with Machine(made.path, kernel=kernel, memory=MEMORY) as machine:
        machine.wait_for(f"^demo: ready {re.escape(made.system)}$", timeout=BOOT_SECONDS)
        record_property("boot", f"{time.monotonic() - began:.1f} s")
        check(machine, made, "bios")
        assert machine.run("grep -c ' / ext4 ' /proc/mounts", timeout=COMMAND_SECONDS) == "1"
        assert "/dev/vda / " in machine.run("cat /proc/mounts", timeout=COMMAND_SECONDS)


def test_signed_programs_boot_with_secure_boot(
    make: Make, record_property: Callable[[str, object], None]
) -> None:
    made = make(DemoImage("efi", signed=True, params=tuple(BY_GRUB)))
    began = time.monotonic()
    with Machine(made.path, secure_boot=True, memory=SECURE_MEMORY) as machine:
        machine.wait_for(f"^demo: ready {re.escape(made.system)}$", timeout=BOOT_SECONDS)
        record_property("boot", f"{time.monotonic() - began:.1f} s")
        check(machine, made, "efi")
        assert machine.run(SECURE_BOOT, timeout=COMMAND_SECONDS).split() == ["1"]
