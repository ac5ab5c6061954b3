"""Names that must look random but be the same for the same input: UUIDs and serial numbers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Identity:
    """The digest of what makes a disk what it is: the closure's paths, its options and a seed."""

    digest: bytes

    @classmethod
    def of(cls, paths: Sequence[str], options: Sequence[object]) -> "Identity":
        """From a closure's paths and the options of its disk (anything that JSON can write).

        Not from the paths' hashes: some sources know them only when all is read. Nor from what a
        user adds, which may change without the disk becoming another one.
        """
        facts = [list(paths), list(options)]
        return cls(hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest())

    def uuid(self, name: str) -> UUID:
        """A UUID for the thing called `name` (RFC 9562 version 8: derived from our digest)."""
        raw = bytearray(hashlib.sha256(self.digest + name.encode()).digest()[:16])
        raw[6] = raw[6] & 0x0F | 0x80
        raw[8] = raw[8] & 0x3F | 0x80
        return UUID(bytes=bytes(raw))

    def serial(self, name: str) -> int:
        """A 32-bit number for the thing called `name`, as a FAT's volume serial number."""
        return int.from_bytes(hashlib.sha256(self.digest + name.encode()).digest()[:4], "big")
