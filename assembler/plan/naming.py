"""Decide the names of the disk from the user's settings and from what the system mounts."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from assembler.boot.bootspec import Bootspec
from assembler.boot.generation import read_system
from assembler.boot.mounts.compare import Comparison, compare
from assembler.boot.mounts.devices import NamedDevice, Tag
from assembler.boot.mounts.disk_names import Claims, DiskNames, TargetDisk
from assembler.boot.mounts.fstab import Mount, finds_root_by_type, parameter_mounts, read_mounts
from assembler.boot.systemd_boot.loader import SystemdBoot
from assembler.boot.volumes import Role
from assembler.disk.layout import Layout, shape
from assembler.disk.tables import ROOT_TYPES, Table, root_type
from assembler.errors import Message, RequestError, Setting
from assembler.plan.resolve import Resolution
from assembler.root.store_only import LABEL as STORE_LABEL
from assembler.spec import Spec
from assembler.store.paths import Store

log = logging.getLogger(__name__)


def decide_names(resolution: Resolution, store: Store) -> DiskNames:
    """The names of file systems and partitions; warns of mounts that another disk must have.

    Raises RequestError with a line for each mount that this disk cannot be. If something else boots
    the disk, these are warnings.
    """
    spec = resolution.spec
    claims = _claims(resolution)
    problems = claims.problems
    if spec.store_only:
        return _store_names(claims)
    systems = resolution.generations
    main = _read(store, systems.pop(resolution.number))
    mounts = _mounts(store, spec.root.system, main)
    found = compare(mounts, claims)
    faults = [*found.problems, *found.claims.clashes()]
    faults_of_table = any(_names_a_table(fault) for fault in faults)
    try_tables = bool(faults) and not faults_of_table
    faults += _automatic_faults(spec, claims.disk.layout, main)
    if not spec.loader_type.boots:
        for fault in faults:
            log.warning("%s", fault)
        faults = []
    elif try_tables:
        faults += _other_tables(resolution, mounts)
    if problems or faults:
        raise RequestError([*problems, *faults])
    if mounts and "/" not in [mount.place for mount in mounts] and not _is_automatic(main):
        found.doubts.append('the system mounts nothing at /: give it a fileSystems."/"')
    _warn(found)
    names = _with_others(store, found.claims, main, systems).names
    return replace(names, disks=frozenset(found.disks))


def _claims(resolution: Resolution) -> Claims:
    """The facts on which names depend, with the names that the user chooses."""
    spec, expected = resolution.spec, resolution.expected
    layout = shape(spec.table, root_type(resolution.architecture, spec.layout))
    places = expected.esp, expected.boot
    claims = Claims(TargetDisk(layout, spec.kind, spec.subvolumes, *places))
    for role, name, setting in _asked_names(spec, layout):
        claims.add(role, name, Message(setting, f" is {name.value}"), setting)
    return claims


def _store_names(claims: Claims) -> DiskNames:
    """The names of a disk with a store alone, which no system has as its root."""
    if (Role.ROOT, Tag.LABEL) not in claims.taken:
        claims.add(Role.ROOT, NamedDevice(Tag.LABEL, STORE_LABEL), f"the store is {STORE_LABEL}")
    if problems := [*claims.problems, *claims.clashes()]:
        raise RequestError(problems)
    return claims.names


def _names_a_table(fault: str) -> bool:
    """Whether a fault already names a partition table to take."""
    parts = fault.parts if isinstance(fault, Message) else ()
    return any(isinstance(part, Setting) and part.name == "partition_table" for part in parts)


def _other_tables(resolution: Resolution, mounts: Sequence[Mount]) -> list[str]:
    """A line that names the partition tables with which a system finds all its mounts."""
    fitting: list[str | Setting] = []
    for table in Table:
        other = replace(resolution, spec=replace(resolution.spec, partition_table=table))
        if not other.problems():
            found = compare(mounts, _claims(other))
            if not found.problems and not list(found.claims.clashes()):
                # A bare file system has no boot loader, unless one is asked for.
                fitting += [" or ", Setting("partition_table", table)]
                if not table.has_partitions:
                    fitting += [" ", Setting("boot_loader", other.spec.loader)]
    return [Message("all that the system mounts is there with ", *fitting[1:])] if fitting else []


def _asked_names(spec: Spec, layout: Layout) -> Iterator[tuple[Role, NamedDevice, Setting]]:
    """The names that the user chooses, for what they are, and the settings that have them."""
    if spec.label is not None and spec.has_label_that_fits:
        yield Role.ROOT, NamedDevice(Tag.LABEL, spec.label), Setting("label")
    if spec.root_uuid is not None:
        yield Role.ROOT, NamedDevice(Tag.UUID, str(spec.root_uuid)), Setting("root_uuid")
    if spec.root_partuuid is not None:
        yield Role.ROOT, NamedDevice(Tag.PARTUUID, spec.root_partuuid), Setting("root_partuuid")
    guids = dict(spec.partition_guids)
    for role in Role:
        partition = role.of(layout)
        if partition is not None and partition.number in guids:
            guid = NamedDevice(Tag.PARTUUID, str(guids[partition.number]))
            yield role, guid, Setting("partition_guids", f"{partition.number}={guid.value}")


def _read(store: Store, system: str) -> Bootspec | None:
    """The bootspec of a system, None for a wrong one: the boot loader reports that."""
    with suppress(RequestError):
        return read_system(store, system)
    return None


def _mounts(store: Store, system: str, spec: Bootspec | None) -> list[Mount]:
    """What a system mounts, by its fstab and its kernel parameters."""
    asked = parameter_mounts(() if spec is None else spec.kernel_params)
    mounts = read_mounts(store, system)
    if asked and asked[0].place == "/":  # the first stage of NixOS also calls it /dev/root
        mounts = [
            replace(one, source=asked[0].source) if one.source == "/dev/root" else one
            for one in mounts
        ]
    return [*mounts, *asked]


def _is_automatic(bootspec: Bootspec | None) -> bool:
    """Whether systemd is to find the root by the type of its partition."""
    return bootspec is not None and finds_root_by_type(bootspec.kernel_params)


def _automatic_faults(spec: Spec, layout: Layout, bootspec: Bootspec | None) -> list[str]:
    """Why systemd would not find the root by the type of its partition.

    systemd-gpt-auto-generator(8): the boot loader must store in an EFI variable which partition
    it came from, as systemd-boot does.
    """
    if not _is_automatic(bootspec):
        return []
    typed = layout.table.is_gpt and layout.root.type in ROOT_TYPES
    if typed and spec.loader_type.names_its_partition:
        return []
    why = (
        "the kernel parameters ask for root=gpt-auto, but systemd finds such a root only on a GPT "
        "that systemd-boot started: take "
    )
    return [Message(why, Setting("boot_loader", SystemdBoot.name), ', or fileSystems."/"')]


def _with_others(
    store: Store, claims: Claims, main: Bootspec | None, systems: Mapping[int, str]
) -> Claims:
    """Add the names for generations and specialisations; warns of those that contradict."""
    contradicting = []
    variants = list(_specialisations("", main))
    for number, system in sorted(systems.items()):
        spec = _read(store, system)
        variants.append((f"generation {number}", system, spec))
        variants += _specialisations(f"generation {number}, ", spec)
    for name, system, spec in variants:
        other = compare(_mounts(store, system, spec), claims)
        if faults := [*other.problems, *other.claims.clashes()]:
            contradicting.append(f"{name} ({faults[0]})")
        else:
            claims = other.claims
    if contradicting:
        log.warning("the disk is not what these mount: %s", "; ".join(contradicting))
    return claims


def _specialisations(
    where: str, spec: Bootspec | None
) -> Iterator[tuple[str, str, Bootspec | None]]:
    """The name of each in messages, its toplevel and its bootspec."""
    for name, inner in () if spec is None else spec.specialisations:
        yield f"{where}specialisation {name}", inner.toplevel, inner


def _warn(found: Comparison) -> None:
    for doubt in found.doubts:
        log.warning("%s", doubt)
    if found.others:
        log.warning(
            "not on this disk: %s; where no other disk has it, the machine comes up late or not at "
            "all, unless there is the option nofail",
            ", ".join(map(str, found.others)),
        )
    if found.bound:
        log.warning(
            "only where the hardware has the name: %s; name a label, as in "
            "/dev/disk/by-label/nixos, for an image that boots on any machine",
            ", ".join(map(str, found.bound)),
        )
