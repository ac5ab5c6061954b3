"""Feeds the copy workers: file data goes kernel-to-kernel while this process makes metadata."""

import os
import sys
from pathlib import Path

from assembler import process
from assembler.errors import HostError
from assembler.progress import Step
from assembler.writers import copy_worker

# While one waits for the disk that the store lies on, the other copies. Out of the page cache two
# are no faster than one, since the kernel lets one process at a time write to a file.
_WORKERS = 2
_PIECE = 8 << 20  # bytes: how finely a large file is shared out among the workers
_LONGEST_PATH = copy_worker.PACKET - copy_worker.HEADER.size


class Copier:
    """Copies ranges of host files into an image; a context manager that waits for the end.

    A failed copy raises HostError, naming the file, from whichever call notices it first.
    """

    def __init__(self, image: Path, step: Step) -> None:
        requests, self._requests = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
        self._reports, reports = os.pipe()
        command: list[process.Arg] = [sys.executable, "-IS", copy_worker.__file__, image]
        self._workers: list[process.Running] = []
        try:
            for _ in range(_WORKERS):
                self._workers.append(process.start(command, stdin=requests, stdout=reports))
        except BaseException:
            self._end_workers()
            raise
        finally:
            os.close(requests)
            os.close(reports)
        os.set_blocking(self._reports, False)
        self._packet = bytearray()
        self._heard = b""
        self._step = step

    @property
    def pids(self) -> list[int]:
        """The processes that copy."""
        return [worker.pid for worker in self._workers]

    def copy(self, path: bytes, start: int, target: int, length: int) -> None:
        """Copy `length` bytes at `start` in the file at `path` to `target` in the image."""
        if len(path) > _LONGEST_PATH:
            raise HostError(f"copying file data: {os.fsdecode(path)}: the path is too long")
        for skip in range(0, length, _PIECE):
            piece = min(_PIECE, length - skip)
            record = copy_worker.HEADER.pack(len(path), start + skip, target + skip, piece) + path
            if len(self._packet) + len(record) > copy_worker.PACKET:
                self._send()
            self._packet += record

    def _send(self) -> None:
        """Hand the gathered records to whichever worker is free first."""
        try:
            os.write(self._requests, self._packet)
        except BrokenPipeError:
            self._finish()
            raise HostError("copying file data: the copying processes ended early") from None
        self._packet = bytearray()
        self._listen()

    def _listen(self) -> bool:
        """Take in what the workers report; returns whether they may report more."""
        try:
            heard = os.read(self._reports, 1 << 16)
        except BlockingIOError:
            return True
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for line in lines:
            if line.startswith(b"!"):
                raise HostError(f"copying file data: {os.fsdecode(line[1:])}")
            self._step.advance(int(line))
        return bool(heard)

    def _finish(self) -> None:
        """Wait until the workers have done all; raises HostError when one failed."""
        os.close(self._requests)
        self._requests = -1
        os.set_blocking(self._reports, True)
        while self._listen():
            pass
        for worker in self._workers:
            if worker.wait():
                raise HostError(
                    f"copying file data: a copying process failed (status {worker.returncode})"
                )

    def __enter__(self) -> "Copier":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                if self._packet:
                    self._send()
                self._finish()
        finally:
            self._end_workers()
            if self._requests >= 0:
                os.close(self._requests)
            os.close(self._reports)

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait()
