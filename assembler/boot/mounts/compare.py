"""Compare what a system mounts with the disk that it is put on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from assembler.boot.mounts import messages
from assembler.boot.mounts.boot_mounts import BootMounts, boot_mounts, is_esp_place
from assembler.boot.mounts.devices import (
    Device,
    ForeignDevice,
    NamedDevice,
    NumberedPartition,
    udev_encode,
)
from assembler.boot.mounts.disk_names import Claims, TargetDisk
from assembler.boot.mounts.fstab import Mount
from assembler.boot.places import BOOT
from assembler.boot.volumes import Role

_ROOT = "/"
_STORE = ("/nix", "/nix/store")
_NEEDED = (_ROOT, *_STORE)  # a machine does not come up without them, whatever their options


@dataclass(slots=True)
class Comparison:
    """What a system requires of a disk: names in `claims`, and what the disk cannot be."""

    claims: Claims
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)  # of mounts that are not needed to come up
    others: list[Mount] = field(default_factory=list)  # mounts that may be on another disk
    disks: list[str] = field(default_factory=list)  # what the machine calls this disk, if known
    bound: list[Mount] = field(default_factory=list)  # mounts that exist only on certain hardware


def compare(mounts: Sequence[Mount], claims: Claims) -> Comparison:
    """Compare a system's mounts with the disk of `claims`, to which nothing is added."""
    disk = claims.disk
    boots = boot_mounts(disk.layout, mounts, disk.esp_place, disk.boot_place)
    comparing = _Comparing(disk, Comparison(claims.copy()), boots)
    later = [mount for mount in mounts if not comparing.take(mount)]
    for mount in later:
        comparing.take_other(mount)
    comparing.find_unseen_subvolumes(mounts)
    place = disk.boot_place or BOOT
    if disk.layout.xbootldr is not None and mounts and place not in [one.place for one in mounts]:
        comparing.result.doubts.append(messages.unmounted_boot_partition(place))
    return comparing.result


@dataclass(slots=True)
class _Comparing:
    """Takes one mount after the other."""

    disk: TargetDisk
    result: Comparison
    boots: BootMounts
    ours: dict[Device, Role] = field(default_factory=dict)  # devices that are on this disk
    kernels: list[str] = field(default_factory=list)  # the kernel's name of this disk, if known

    def take(self, mount: Mount) -> bool:
        """Compare a mount that must be on this disk; returns False for any other."""
        if mount.place == _ROOT:
            self._on_root(mount)
        elif mount.place in _STORE:
            self._store(mount)
        elif (role := self.boots.role_at(mount.place)) is not None:
            self._on(role, mount)
        elif mount.place == BOOT:
            self._boot_without_partition(mount)
        else:
            return self._esp_without_partition(mount)
        return True

    def take_other(self, mount: Mount) -> None:
        """Compare a mount that may be on this disk or on another."""
        if not mount.is_on_disk:
            return
        device = mount.device
        role = Role.ROOT if self._made_at(mount.place) else self.ours.get(device)
        if role is Role.ROOT and not mount.is_swap:
            self._on_root(mount)
        elif role is None and self._lacks(device) and not mount.is_swap:
            self._report(mount, messages.no_such_partition(mount))
        elif role is None and not mount.is_optional:
            known = [one.source for one in self.result.others]
            if not (mount.is_swap and mount.source in known):  # resume= names it once more
                self.result.others.append(mount)

    def find_unseen_subvolumes(self, mounts: Sequence[Mount]) -> None:
        """Report subvolumes that are made, and that the system does not mount."""
        places = {mount.place for mount in mounts}
        if _ROOT not in places:
            return
        nested = not self._made_at(_ROOT)
        for name, place in self.disk.subvolumes:
            # If a mount at the place shows something else, that is reported for the mount.
            if place not in places and not (nested and place == f"/{name}"):
                self.result.problems.append(messages.unseen_subvolume(name, place))

    def _made_at(self, place: str) -> str:
        """The subvolume that is made for a place, empty for none."""
        return next((name for name, where in self.disk.subvolumes if where == place), "")

    def _lacks(self, device: Device) -> bool:
        """Whether a device is on this disk by its name, but not by its number."""
        numbers = [one.number for one in self.disk.layout.partitions]
        return (
            isinstance(device, NumberedPartition)
            and device.disk in self.kernels
            and device.number not in numbers
        )

    def _on_root(self, mount: Mount) -> None:
        """Compare a mount that must show the root file system, or a subvolume of it."""
        if self._on(Role.ROOT, mount):
            self._subvolume(mount)

    def _store(self, mount: Mount) -> None:
        if mount.is_bind and mount.source == mount.place:
            return  # the same once more, to make it read-only
        if self._made_at(mount.place) and mount.is_on_disk:
            self._on_root(mount)
        else:
            self._report(mount, messages.store_elsewhere(mount))

    def _boot_without_partition(self, mount: Mount) -> None:
        """Compare a /boot that is no partition of this disk."""
        if (mount.subvolume, BOOT) in self.disk.subvolumes and mount.may_be(self.disk.kind.name):
            self._on(Role.ROOT, mount)
        else:
            self._report(mount, messages.no_fat_for_boot(mount, self.disk.layout.table))

    def _esp_without_partition(self, mount: Mount) -> bool:
        """Compare an EFI system partition that this disk lacks, or has at /boot.

        Returns False for any other mount. If the disk has one, others are mirrors on other disks.
        """
        esp, table = self.boots.esp, self.disk.layout.table
        if not mount.is_fat or mount.is_bind or not is_esp_place(mount.place):
            return False
        if esp is None:
            if not mount.is_optional:  # some systems are for disks of several kinds
                self._report(mount, messages.no_esp(mount, table))
            return True
        if esp.place == BOOT and mount.device != esp.device:
            self._report(mount, messages.esp_is_boot(mount, table))
        return esp.place == BOOT

    def _on(self, role: Role, mount: Mount) -> bool:
        """Compare a mount with the partition that it must be; returns whether it can be that."""
        fits = mount.may_be(self.disk.kind.name) if role is Role.ROOT else mount.is_fat
        if mount.is_bind or not mount.is_on_disk:
            self._report(mount, messages.not_on_disk(mount, self._advice(role, mount)))
        elif not fits:
            self._report(mount, messages.other_kind(mount, role, self.disk))
        else:
            return self._device(role, mount)
        return False

    def _device(self, role: Role, mount: Mount) -> bool:
        """Compare how a device is named with the partition that it must be."""
        device, fault = mount.device, ""
        match device:
            case NamedDevice():
                trial = self.result.claims.copy()
                trial.add(role, device, str(mount))
                if trial.problems:
                    self._report(mount, *trial.problems)
                    return False
                self.result.claims = trial
            case NumberedPartition():
                fault = self._number_fault(role, device)
            case ForeignDevice():
                fault = f"that is {device.what}"
        if fault:
            self._report(mount, messages.fault_of(mount, f"{fault}: {self._advice(role, mount)}"))
            return False
        if isinstance(device, NumberedPartition):
            self.result.disks.append(device.disk)
            if device.is_of_hardware:
                self.result.bound.append(mount)
        self.ours[device] = role
        return True

    def _number_fault(self, role: Role, device: NumberedPartition) -> str:
        """Why a device is not the partition for a role; empty where it is."""
        partition = role.of(self.disk.layout)
        if partition is None or device.number != partition.number:
            return messages.other_number(role, partition)
        if device.is_of_kernel and self.kernels not in ([], [device.disk]):
            return f"this disk cannot be /dev/{self.kernels[0]}, too"
        if device.is_of_kernel:
            self.kernels = [device.disk]
        return ""

    def _subvolume(self, mount: Mount) -> None:
        """Compare which subvolume a mount shows with those that are made."""
        made, wanted = self._made_at(mount.place), mount.subvolume
        if not self.disk.kind.has_subvolumes:
            if wanted:
                self._report(mount, messages.no_subvolumes(mount))
        elif wanted is None:
            why = "subvolumes have other numbers on each disk: take subvol="
            self._report(mount, messages.fault_of(mount, why))
        elif made and wanted != made:
            self._report(mount, messages.other_subvolume(mount, made))
        elif wanted and not made:
            self._report(mount, messages.absent_subvolume(mount))

    def _advice(self, role: Role, mount: Mount) -> str:
        label = udev_encode(self.result.claims.names.label(role))
        if mount.parameter:
            return f"take root=LABEL={label}"
        return f'give fileSystems."{mount.place}" the device /dev/disk/by-label/{label}'

    def _report(self, mount: Mount, *lines: str) -> None:
        """Add what is wrong with a mount: only a doubt if a machine comes up without it."""
        optional = mount.is_optional and mount.place not in _NEEDED
        found = self.result.doubts if optional else self.result.problems
        found += lines
