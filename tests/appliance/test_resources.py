"""The memory and processors of an appliance are bounded, also by those of the host.

Without these tests, an appliance can take more memory than the host has.
"""

from pathlib import Path

import pytest

from assembler.appliance import resources
from assembler.appliance.resources import memory_for, problems, processors
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


@pytest.mark.parametrize("memory", ["abc", "4G", "0", "-1", " 512"])
def test_memory_that_is_no_number(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBGUESTFS_MEMSIZE", memory)
    assert problems() == [f"LIBGUESTFS_MEMSIZE is {memory!r}, not a number of MiB"]


def test_a_cache_that_is_of_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path / "absent"))
    assert problems() == [
        f"LIBGUESTFS_CACHEDIR {tmp_path}/absent is not a directory that you may write to"
    ]
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path))
    monkeypatch.setenv("LIBGUESTFS_MEMSIZE", "512")
    assert problems() == []
