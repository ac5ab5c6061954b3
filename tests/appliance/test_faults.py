"""Messages of QEMU, supermin, libguestfs and Linux, and what we make of them.

Without these tests, a user sees pages of a boot log in place of the cause.
"""

import pytest

from assembler.appliance.faults import cause, kvm_failed, last_resort, write_failed

FACTS = {
    "memory": "384",
    "path": "/fixed",
    "cache": "/cache",
    "tmpdir": "/scratch",
    "image": "/images",
    "free": "0 B",
}
AT_THE_START = [
    ("QEMU is absent: /usr/bin/qemu", "QEMU is absent (/usr/bin/qemu): install "),
    (
        "cannot find any suitable libguestfs supermin, fixed or old-style appliance on "
        "LIBGUESTFS_PATH (search path: /fixed)",
        "there is no appliance in LIBGUESTFS_PATH (/fixed): ",
    ),
    ("sh: 1: supermin: not found", "supermin is absent, which builds the appliance: "),
    (
        "supermin: ext2fs_close: /cache/.guestfs-1/appliance.d.x/root: No space left on device",
        "there is no room to build the appliance in /cache: ",
    ),
    ("write: No space left on device", "the disk of TMPDIR (/scratch) is full: "),
    (
        "supermin: open: /boot/vmlinuz-6.1: Permission denied",
        "the kernel /boot/vmlinuz-6.1 may not be read: an administrator can allow it with chmod "
        "0644 /boot/vmlinuz-6.1",
    ),
    (
        "cp -p '/boot/vmlinuz-6.1' '/cache/kernel': command failed",
        "the kernel /boot/vmlinuz-6.1 may not be read: ",
    ),
    (
        "supermin: failed to find a suitable kernel (host_cpu=x86_64).",
        "there is no kernel for the appliance in /boot: ",
    ),
    (
        "qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory",
        "this host has not enough memory for an appliance of 384 MiB: ",
    ),
    (
        "qemu: error: failed to set MSR 0x10a to 0x69\r\nqemu: Assertion",
        "KVM does not work on this host (failed to set MSR 0x10a to 0x69), but ",
    ),
    (
        "Kernel panic - not syncing: System is deadlocked on memory",
        "the appliance ran out of memory: set LIBGUESTFS_MEMSIZE to more than 384 (MiB)",
    ),
]
WHILE_IT_RUNS = [
    (
        "[ 9.1] Out of memory: Killed process 200 (tar) total-vm:400kB",
        "the appliance ran out of memory: ",
    ),
    (
        "[ 9.1] I/O error, dev vda, sector 8 op 0x1:(WRITE)",
        "the image cannot be written, /images has 0 B free: ",
    ),
    (
        "tar: x: Cannot write: No space left on device",
        "the file system is full: give it more with size or additional_space",
    ),
    # A full disk of the host is reported as such, though the file system reports no room.
    (
        "write: No space left on device\n[ 9.1] I/O error, dev vda, sector 8",
        "the image cannot be written, ",
    ),
]


@pytest.mark.parametrize(("printed", "messages"), AT_THE_START)
def test_what_is_told_at_the_start(printed: str, messages: str) -> None:
    assert cause(f"before\n{printed}\nafter", FACTS, started=False).startswith(messages)


@pytest.mark.parametrize(("printed", "messages"), WHILE_IT_RUNS)
def test_what_is_told_while_it_runs(printed: str, messages: str) -> None:
    assert cause(f"before\n{printed}\nafter", FACTS, started=True).startswith(messages)


@pytest.mark.parametrize("started", [False, True])
def test_what_nobody_knows(started: bool) -> None:
    assert cause("something else", FACTS, started=started) == ""
    assert "guestfs_launch failed)" in last_resort("guestfs_launch failed.\nSee", started=started)


def test_writes_that_failed() -> None:
    assert write_failed("[ 9.1] I/O error, dev vda, sector 8")
    assert not write_failed("[ 9.1] I/O error, dev vdb, sector 8")


def test_kvm() -> None:
    assert kvm_failed("qemu: failed to set MSR 0x10a to 0x69\r\n") == (
        "failed to set MSR 0x10a to 0x69"
    )
    assert kvm_failed("force_kvm supplied but kvm not available.") == "kvm not available"
    assert kvm_failed("QEMU died") == ""
    assert cause("kvm not available", FACTS, started=False) == (
        "KVM does not work on this host (kvm not available), but accelerator tcg does"
    )
