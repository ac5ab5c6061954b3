"""Compare what a system mounts with the disk that it is put on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from assembler.boot.mounts.boot_mounts import BootMounts, boot_mounts, is_esp_place
from assembler.boot.mounts.devices import Device, Foreign, Named, Node, udev_encode
from assembler.boot.mounts.fstab import Mount
from assembler.boot.mounts.names import Claims, Disk
from assembler.boot.mounts.volumes import Role
from assembler.boot.places import BOOT
from assembler.disk.layout import Partition
from assembler.disk.tables import FOR_BOOT, FOR_EFI, Table

_ROOT = "/"
_STORE = ("/nix", "/nix/store")
_NEEDED = (_ROOT, *_STORE)  # a machine without them does not come up, whatever their options


@dataclass(slots=True)
class Comparison:
    """What a system wants of a disk: names in `claims`, and what the disk cannot be."""

    claims: Claims
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)  # of what a machine comes up without
    others: list[Mount] = field(default_factory=list)  # that may be on another disk
    disks: list[str] = field(default_factory=list)  # what the machine calls this disk, if known
    bound: list[Mount] = field(default_factory=list)  # found on a machine of certain hardware only


def compare(mounts: Sequence[Mount], claims: Claims) -> Comparison:
    """Compare a system's mounts with the disk of `claims`, to which nothing is added."""
    disk = claims.disk
    boots = boot_mounts(disk.layout, mounts, disk.esp_place, disk.boot_place)
    found = _Comparing(disk, Comparison(claims.copy()), boots)
    later = [mount for mount in mounts if not found.take(mount)]
    for mount in later:
        found.take_other(mount)
    found.miss_subvolumes(mounts)
    place = disk.boot_place or BOOT
    if disk.layout.xbootldr is not None and mounts and place not in [one.place for one in mounts]:
        found.result.doubts.append(
            f"the system does not mount the {Role.BOOT.words} at {place}: what a rebuild writes "
            "there, no boot loader reads"
        )
    return found.result


@dataclass(slots=True)
class _Comparing:
    """Takes one mount after the other."""

    disk: Disk
    result: Comparison
    boots: BootMounts
    ours: dict[Device, Role] = field(default_factory=dict)  # devices that are on this disk
    kernels: list[str] = field(default_factory=list)  # the kernel's name of this disk, if known

    def take(self, mount: Mount) -> bool:
        """Compare what the disk must have; tells whether this was of that kind."""
        if mount.place == _ROOT:
            self._root(mount)
        elif mount.place in _STORE:
            self._store(mount)
        elif (role := self.boots.role_at(mount.place)) is not None:
            self._on(role, mount)
        elif mount.place == BOOT:
            self._no_boot(mount)
        else:
            return self._no_esp(mount)
        return True

    def take_other(self, mount: Mount) -> None:
        """Compare what may as well be on another disk."""
        if not mount.is_on_disk:
            return
        made = mount.place in [place for _, place in self.disk.subvolumes]
        device = mount.device
        role = Role.ROOT if made else self.ours.get(device)
        if role is Role.ROOT and not mount.is_swap:
            if self._on(Role.ROOT, mount):
                self._subvolume(mount, mount.place)
        elif role is None and self._lacks(device) and not mount.is_swap:
            self._tell(mount, f"this disk has no such partition: {_leave(mount)}, or add nofail")
        elif role is None and not mount.is_optional:
            told = [one.source for one in self.result.others]
            if not (mount.is_swap and mount.source in told):  # resume= names it once more
                self.result.others.append(mount)

    def _lacks(self, device: Device) -> bool:
        """Whether a device is by its name on this disk, and by its number is not."""
        numbers = [one.number for one in self.disk.layout.partitions]
        return (
            isinstance(device, Node)
            and device.disk in self.kernels
            and device.number not in numbers
        )

    def miss_subvolumes(self, mounts: Sequence[Mount]) -> None:
        """Tell of subvolumes that are made and not seen where they should be."""
        places = {mount.place for mount in mounts}
        if _ROOT not in places:
            return
        nested = all(place != _ROOT for _, place in self.disk.subvolumes)
        for name, place in self.disk.subvolumes:
            if place in places or (nested and place == f"/{name}"):
                continue  # a problem of the mount itself is told elsewhere
            self.result.problems.append(
                f"the system does not mount the subvolume {name} at {place}: leave --subvolume "
                f'{name}={place} out, or give fileSystems."{place}" the option subvol={name}'
            )

    def _root(self, mount: Mount) -> None:
        if self._on(Role.ROOT, mount):
            self._subvolume(mount, _ROOT)

    def _store(self, mount: Mount) -> None:
        if mount.is_bind and mount.source == mount.place:
            return  # the same once more, to make it read-only
        made = [name for name, place in self.disk.subvolumes if place == mount.place]
        if made and mount.is_on_disk:
            if self._on(Role.ROOT, mount):
                self._subvolume(mount, mount.place)
            return
        remedy, kind = "", self._kind_with_subvolumes
        if (
            mount.may_be(*self.disk.with_subvolumes)
            and mount.is_on_disk
            and "/" not in (mount.subvolume or "/")
        ):
            remedy = f", or take --filesystem {kind} --subvolume {mount.subvolume}={mount.place}"
        self._tell(
            mount,
            f"this disk has {mount.place} in its root file system: leave it out of "
            f"fileSystems{remedy}",
        )

    def _no_boot(self, mount: Mount) -> None:
        """Compare a /boot that is no partition of this disk."""
        if (mount.subvolume, BOOT) in self.disk.subvolumes and mount.may_be(self.disk.kind.name):
            self._on(Role.ROOT, mount)
            return
        table = self.disk.layout.table
        take = f"take --partition-table {FOR_BOOT}, or"
        fault = f"there is no FAT for it with --partition-table {table}: {take}"
        if mount.is_bind or not mount.is_fat:
            fault = "/boot of this disk can be a FAT or a directory of the root: make it vfat, or"
        self._tell(mount, f"{fault} {_leave(mount)}")

    def _no_esp(self, mount: Mount) -> bool:
        """Tell of an EFI system partition that there is not, or that is /boot already.

        Tells whether it was one; further ones are mirrors on other disks.
        """
        esp, table = self.boots.esp, self.disk.layout.table
        if not mount.is_fat or mount.is_bind or not is_esp_place(mount.place):
            return False
        if esp is None and not mount.is_optional:  # or a system is for disks of several kinds
            self._tell(
                mount,
                f"there is no EFI system partition with --partition-table {table}: "
                f"take --partition-table {FOR_EFI}, or {_leave(mount)}",
            )
        elif esp is not None and esp.place == BOOT and mount.device != esp.device:
            self._tell(
                mount,
                f"{BOOT} is the only FAT with --partition-table {table}: take "
                f"--partition-table {Table.EFIXBOOTLDR}, or {_leave(mount)}",
            )
        return esp is None or esp.place == BOOT

    def _on(self, role: Role, mount: Mount) -> bool:
        """Compare a mount with the partition that it should be; tells whether it can be that."""
        kind = self.disk.kind_of(role).name
        if mount.is_bind or not mount.is_on_disk:
            what = "a bind mount" if mount.is_bind else "/".join(mount.kinds)
            self._tell(mount, f"{what} is not on this disk: {self._advice(role, mount)}")
        elif not (mount.may_be(kind) if role is Role.ROOT else mount.is_fat):
            kinds = "/".join(mount.kinds)
            remedy = f'give fileSystems."{mount.place}" the fsType {kind}'
            if role is Role.ROOT and mount.kinds[0] in [one.name for one in self.disk.kinds]:
                remedy = f"take --filesystem {mount.kinds[0]}"
            self._tell(mount, f"as {kinds}: the {role.words} of this disk is {kind}; {remedy}")
        else:
            return self._device(role, mount)
        return False

    def _device(self, role: Role, mount: Mount) -> bool:
        """Compare how a device is named with the partition that it should be."""
        device, partition = mount.device, role.of(self.disk.layout)
        fault = ""
        match device:
            case Named():
                trial = self.result.claims.copy()
                trial.add(role, device, str(mount))
                if trial.problems:
                    self._reports(mount).extend(trial.problems)
                    return False
                self.result.claims = trial
            case Node():
                if partition is None or device.number != partition.number:
                    fault = f"the {role.words} of this disk is {_numbered(partition)}"
                elif device.is_of_kernel and self.kernels not in ([], [device.disk]):
                    fault = f"this disk cannot be /dev/{self.kernels[0]}, too"
                elif device.is_of_kernel:
                    self.kernels = [device.disk]
            case Foreign():
                fault = f"that is {device.what}"
        if fault:
            self._tell(mount, f"{fault}: {self._advice(role, mount)}")
            return False
        if isinstance(device, Node) and device.is_of_hardware:
            self.result.bound.append(mount)
        if isinstance(device, Node):
            self.result.disks.append(device.disk)
        self.ours[device] = role
        return True

    def _subvolume(self, mount: Mount, place: str) -> None:
        """Compare which subvolume a mount shows with those that are made."""
        made = next((name for name, where in self.disk.subvolumes if where == place), "")
        wanted = mount.subvolume
        fault = ""
        if not self.disk.kind.has_subvolumes:
            kind = self._kind_with_subvolumes
            fault = f"subvol={wanted} is for {kind}: take --filesystem {kind}" if wanted else ""
        elif wanted is None:
            fault = "subvolumes have other numbers on each disk: take subvol="
        elif made and wanted != made:
            fault = (
                f"--subvolume puts {place} into {made}, and not {wanted or 'the top level'}: give "
                f'fileSystems."{place}" the option subvol={made}'
            )
        elif wanted and not made:
            fault = f"there is no subvolume {wanted}: take --subvolume {wanted}={place}"
            if "/" in wanted:
                fault = "subvolumes are not made inside others: take a name without a slash"
        if fault:
            self._tell(mount, fault)

    @property
    def _kind_with_subvolumes(self) -> str:
        """The kind of root file system for a mount that asks for a subvolume."""
        return " or ".join(self.disk.with_subvolumes)

    def _advice(self, role: Role, mount: Mount) -> str:
        label = udev_encode(self.result.claims.names.label(role))
        if mount.parameter:
            return f"take root=LABEL={label}"
        return f'give fileSystems."{mount.place}" the device /dev/disk/by-label/{label}'

    def _tell(self, mount: Mount, fault: str) -> None:
        self._reports(mount).append(f"{mount}, but {fault}")

    def _reports(self, mount: Mount) -> list[str]:
        if mount.is_optional and mount.place not in _NEEDED:
            return self.result.doubts
        return self.result.problems


def _numbered(partition: Partition | None) -> str:
    if partition is None:
        return "nowhere"
    return f"partition {partition.number}" if partition.number else "the whole disk"


def _leave(mount: Mount) -> str:
    return f'leave fileSystems."{mount.place}" out'
