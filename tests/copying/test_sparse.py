"""Copies of a part of an image keep their holes, and end where the part ends.

Without these tests, the check of a large sparse image can fill the disk with zeros.
"""

import errno
import os
from pathlib import Path

import pytest

from assembler.copying.sparse import copy_sparse
from assembler.errors import HostError


def test_copy_sparse_keeps_holes_and_bytes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.truncate(20 << 20)
        for offset in (0, 5 << 20, (10 << 20) - 4096):
            file.seek(offset)
            file.write(b"data" * 1024)
    copy_sparse(source, target, 1 << 20, 9 << 20)
    assert target.read_bytes() == source.read_bytes()[1 << 20 : 10 << 20]
    assert target.stat().st_blocks * 512 <= 64 << 10


def test_copy_sparse_ends_when_the_source_shrinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"data" * 4096)
    sent: list[int] = []
    really_send = os.sendfile

    def send(target: int, origin: int, offset: int, count: int) -> int:
        assert 0 not in sent, "it tries again for ever"
        os.truncate(source, 4096)
        sent.append(really_send(target, origin, offset, count))
        return sent[-1]

    monkeypatch.setattr(os, "sendfile", send)
    with pytest.raises(HostError, match="became shorter"):
        copy_sparse(source, tmp_path / "target", 0, 16384)


def test_copy_sparse_takes_no_other_failure_for_a_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"data" * 4096)

    def fail(*_args: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "lseek", fail)
    with pytest.raises(OSError, match="Input/output error"):
        copy_sparse(source, tmp_path / "target", 0, 16384)
