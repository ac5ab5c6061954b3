"""What nix/module/facts.json has: run this file, and put there what it prints."""

import json

from assembler.disk.tables import Table
from assembler.formats.format import Format
from assembler.formats.registry import FORMATS
from assembler.formats.targets import TARGETS


def facts() -> dict[str, object]:
    """The formats with the endings of their files, the partition tables, and the targets."""
    return {
        "formats": {name: ending(one) for name, one in sorted(FORMATS.items())},
        "tables": sorted(map(str, Table)),
        "targets": {
            name: {"formats": [*one.formats], "machines": [*one.machines]}
            for name, one in sorted(TARGETS.items())
        },
    }


def ending(made: Format) -> str:
    """What a new file of a format ends in."""
    return f"raw.{made.endings[0]}" if made.wraps else made.endings[0]


if __name__ == "__main__":
    print(json.dumps(facts(), indent=2))
