"""Identifiers that look random and are the same for the same input: UUIDs and serial numbers.

`Identity.of_disk` is the only place that decides what they are derived from.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from assembler.disk.tables import LayoutRules
from assembler.filesystems.registry import DEFAULT
from assembler.spec import Spec
from assembler.units import SECTOR


@dataclass(frozen=True, slots=True)
class Identity:
    """The digest of the facts that tell one disk from another."""

    digest: bytes

    @classmethod
    def of(cls, paths: Sequence[str], facts: Sequence[object]) -> "Identity":
        """Take the store paths of a closure and other facts, which JSON must be able to write."""
        document = [list(paths), list(facts)]
        return cls(hashlib.sha256(json.dumps(document, sort_keys=True).encode()).digest())

    @classmethod
    def of_disk(cls, spec: Spec, paths: Sequence[str], label: str) -> "Identity":
        """Take a resolved request, the store paths of its closure, and the label of its root.

        Two images get other identifiers if they differ in the closure's paths, the system, the
        epoch, the label, a size that is asked for, the generations, the channel, the root's file
        system or its subvolumes, the partition table, the rules of its layout, the size of a
        sector, the boot loader, or the seed. Nor does an image of the store alone share them.

        Everything else leaves them as they are: the hashes of store paths, which some sources have
        only when everything is read; contents and configuration, so that a changed file does not
        make another disk of it; names that are asked for; and who writes the image.

        A group of facts that is as in an image without options is left out. So images keep their
        identifiers when a later release adds one more fact.
        """
        sizes = [spec.size, spec.additional_space, spec.boot_size]
        no_rows: list[object] = []  # contents were here once; without it all UUIDs would change
        facts = [spec.root.system, spec.root.epoch, label, sizes, no_rows]
        profiles = [sorted(spec.root.generations), spec.root.channel, None]
        if any(profiles):
            facts.append(profiles)
        if spec.kind is not DEFAULT:
            facts.append([spec.file_system, spec.subvolumes])
        boot = [spec.table, spec.sector_size, spec.loader]
        if boot != ["hybrid", SECTOR, "grub"]:
            facts.append(boot)
        if spec.layout is not LayoutRules.OWN or spec.store_only:
            facts.append({"layout": spec.layout, "store_only": spec.store_only})
        if spec.seed:
            facts.append({"seed": spec.seed})
        return cls.of(paths, facts)

    def uuid(self, name: str) -> UUID:
        """A UUID for the thing called `name` (RFC 9562 version 8: derived from our digest)."""
        raw = bytearray(hashlib.sha256(self.digest + name.encode()).digest()[:16])
        raw[6] = raw[6] & 0x0F | 0x80
        raw[8] = raw[8] & 0x3F | 0x80
        return UUID(bytes=bytes(raw))

    def serial(self, name: str) -> int:
        """A 32-bit number for the thing called `name`, as a FAT's volume serial number."""
        return int.from_bytes(hashlib.sha256(self.digest + name.encode()).digest()[:4], "big")
