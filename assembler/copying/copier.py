"""Feeds the copy workers: file data goes kernel-to-kernel while this process makes metadata."""

import fcntl
import os
import sys
from pathlib import Path

from assembler.copying import copy_worker
from assembler.errors import HostError
from assembler.host import process
from assembler.host.progress import Step

# While one waits for the disk of the store, the other copies. If all data is in the page cache, two
# are no faster than one, since the kernel lets one process at a time write to a file.
_WORKERS = 2
_PIECE = 8 << 20  # bytes of a large file that a worker gets at once
_LONG_PIPE = 1 << 20  # bytes: the most that an ordinary user may ask for (pipe(7))
_LONGEST = copy_worker.PACKET - copy_worker.HEADER.size


class Copier:
    """Copies ranges of host files into an image; a context manager that waits for the end.

    A failed copy raises HostError, naming the file, from whichever call notices it first. With one
    worker, it can hash all data between `open` and `close`; `hashes` has name → hexadecimal
    SHA-256, complete after the end.
    """

    def __init__(self, image: Path, step: Step, *, workers: int = _WORKERS) -> None:
        requests, self._requests = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
        self._reports, reports = os.pipe()
        command: list[process.Arg] = [sys.executable, "-IS", copy_worker.__file__, image]
        self._workers: list[process.Running] = []
        try:
            for _ in range(workers):
                worker = process.start(
                    command, stdin=requests, stdout=reports, stderr=process.DEVNULL
                )
                self._workers.append(worker)
        except BaseException:
            self._end_workers()
            raise
        finally:
            os.close(requests)
            os.close(reports)
        os.set_blocking(self._reports, False)
        if workers == 1:  # its work must not make us wait while others are free
            fcntl.fcntl(self._requests, fcntl.F_SETPIPE_SZ, _LONG_PIPE)
        self._packet = bytearray()
        self._report = b""  # the line that is not complete yet
        self._step = step
        self.hashes: dict[str, str] = {}
        self.asked = 0  # bytes to read, so far

    @property
    def pids(self) -> list[int]:
        """The processes that copy."""
        return [worker.pid for worker in self._workers]

    def copy(self, path: bytes, start: int, target: int, length: int) -> None:
        """Copy `length` bytes at `start` in the file at `path` to `target` in the image."""
        for skip in range(0, length, _PIECE):
            piece = min(_PIECE, length - skip)
            self._ask(copy_worker.COPY, path, start + skip, target + skip, piece)

    def open(self, name: str) -> None:
        """Begin the hash called `name`."""
        self._ask(copy_worker.OPEN, os.fsencode(name))

    def literal(self, data: bytes) -> None:
        """Hash `data`."""
        for start in range(0, len(data), _LONGEST):
            self._ask(copy_worker.LITERAL, data[start : start + _LONGEST])

    def hash(self, path: bytes, start: int, length: int) -> None:
        """Hash bytes of a file that are not copied."""
        self._ask(copy_worker.HASH, path, start, 0, length)

    def zeros(self, length: int) -> None:
        """Hash `length` zeros: what a hole reads as."""
        if length:
            self._ask(copy_worker.ZEROS, length=length)

    def close(self) -> None:
        """End the hash."""
        self._ask(copy_worker.CLOSE)

    def _ask(
        self, what: int, text: bytes = b"", start: int = 0, target: int = 0, length: int = 0
    ) -> None:
        if len(text) > _LONGEST:
            raise HostError(f"copying file data: {os.fsdecode(text)}: the path is too long")
        record = copy_worker.HEADER.pack(what, len(text), start, target, length) + text
        if len(self._packet) + len(record) > copy_worker.PACKET:
            self._send()
        self._packet += record
        self.asked += length

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
        """Read what the workers report; returns whether they may report more."""
        try:
            read = os.read(self._reports, 1 << 16)
        except BlockingIOError:
            return True
        *lines, self._report = (self._report + read).split(b"\n")
        for line in lines:
            if line.startswith(b"!"):
                raise HostError(f"copying file data: {os.fsdecode(line[1:])}")
            if line.startswith(b"="):
                name, _, digest = line[1:].partition(b" ")
                self.hashes[os.fsdecode(name)] = digest.decode()
            else:
                self._step.advance(int(line))
        return bool(read)

    def _finish(self) -> None:
        """Wait until the workers have finished; raises HostError when one failed."""
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
