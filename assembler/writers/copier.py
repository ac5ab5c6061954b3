"""Feeds copy_worker: file data goes kernel-to-kernel while this process makes metadata."""

import contextlib
import os
import sys
from pathlib import Path

from assembler import process
from assembler.errors import HostError
from assembler.progress import Step
from assembler.writers import copy_worker

_BATCH = 32 << 10  # bytes of requests to gather before a write


class Copier:
    """Copies ranges of host files into an image; a context manager that waits for the end.

    A failed copy raises HostError, naming the file, from whichever call notices it first.
    """

    def __init__(self, image: Path, step: Step) -> None:
        requests, self._requests = os.pipe()
        self._reports, reports = os.pipe()
        try:
            self._worker = process.start(
                [sys.executable, "-IS", copy_worker.__file__, image], stdin=requests, stdout=reports
            )
        finally:
            os.close(requests)
            os.close(reports)
        os.set_blocking(self._reports, False)
        self._batch = bytearray()
        self._heard = b""
        self._copied = 0
        self._step = step

    @property
    def pid(self) -> int:
        """The process that copies."""
        return self._worker.pid

    def copy(self, path: bytes, start: int, target: int, length: int) -> None:
        """Copy `length` bytes at `start` in the file at `path` to `target` in the image."""
        self._batch += copy_worker.HEADER.pack(len(path), start, target, length)
        self._batch += path
        if len(self._batch) >= _BATCH:
            self._send()

    def _send(self) -> None:
        view = memoryview(self._batch)
        try:
            while view:
                view = view[os.write(self._requests, view) :]
        except BrokenPipeError:
            self._finish()
            raise HostError("copying file data: the copying process ended early") from None
        self._batch = bytearray()
        self._listen()

    def _listen(self) -> bool:
        """Take in what the worker reports; returns whether it may report more."""
        try:
            heard = os.read(self._reports, 1 << 16)
        except BlockingIOError:
            return True
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for line in lines:
            if line.startswith(b"!"):
                raise HostError(f"copying file data: {line[1:].decode(errors='replace')}")
            self._step.advance(int(line) - self._copied)
            self._copied = int(line)
        return bool(heard)

    def _finish(self) -> None:
        """Wait until the worker has done all; raises HostError when it failed."""
        os.close(self._requests)
        self._requests = -1
        os.set_blocking(self._reports, True)
        while self._listen():
            pass
        if self._worker.wait():
            raise HostError(
                f"copying file data: the copying process failed ({self._worker.returncode})"
            )

    def __enter__(self) -> "Copier":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                if self._batch:
                    self._send()
                self._finish()
        finally:
            if self._requests >= 0:
                os.close(self._requests)
            os.close(self._reports)
            if self._worker.poll() is None:
                self._worker.kill()
                with contextlib.suppress(OSError):
                    self._worker.wait()
