"""What an appliance gets is bounded, and by what the host has."""

from pathlib import Path

import pytest

from assembler.appliance import resources
from assembler.appliance.resources import memory_for, processors
from assembler.units import GIB, MIB


@pytest.mark.parametrize(
    ("available", "extra", "memory"),
    [
        (16 * GIB, 0, 384),
        (16 * GIB, 100 * MIB, 484),
        (16 * GIB, 9 * GIB, 2048),
        (1 * GIB, 9 * GIB, 512),
        (100 * MIB, 9 * GIB, 384),
    ],
)
def test_memory(
    available: int, extra: int, memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {available // 1024} kB\n")
    monkeypatch.setattr(resources, "_MEMINFO", tmp_path / "meminfo")
    assert memory_for(extra) == memory


def test_a_host_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_MEMINFO", tmp_path / "absent")
    assert memory_for(GIB) == 384


def test_processors() -> None:
    assert 1 <= processors() <= 4
