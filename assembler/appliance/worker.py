"""Holds the libguestfs handle, in a process of its own that can be ended at any time.

Run as a script; it imports nothing of ours. Standard input has a request in each line, as JSON;
standard output gets events, and then one answer:

    {"launch": {…}} | {"sh": "…"} | {"shutdown": true}                      requests
    {"line": "…"} | {"progress": [position, total]} | {"qemu": "runs"}      meanwhile
    {"done": "…"} | {"error": "…", "alive": bool}                           answers

At the end of standard input QEMU is killed, libguestfs removes its files, and the process ends.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

_PATIENCE = 10  # seconds that libguestfs has to clean up behind a killed QEMU
_POLL = 0.2  # seconds between looks at the processes
_STATE, _GROUP = 0, 2  # fields of /proc/PID/stat behind the name (proc_pid_stat(5))


_lock = threading.Lock()


def _send(**message: object) -> None:
    with _lock:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


class RequestLoop:
    """Answers the requests, one after another."""

    def __init__(self) -> None:
        self._requests: queue.Queue[dict[str, Any]] = queue.Queue()
        self._guestfs: Any = None
        self._unfinished = b""

    def listen(self) -> None:
        """Read requests; at the end of standard input, end everything."""
        for line in sys.stdin:
            self._requests.put(json.loads(line))
        self._requests.put({"end": True})
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            for directory in _others():  # repeatedly: libguestfs starts QEMU after supermin
                with suppress(OSError):
                    os.kill(int(directory.name), signal.SIGKILL)
            time.sleep(_POLL)
        os.killpg(0, signal.SIGKILL)

    def answer_all(self) -> None:
        """Answer requests until they end."""
        while "end" not in (request := self._requests.get()):
            try:
                _send(done=self._answer(request))
            except (RuntimeError, OSError, ImportError) as error:
                _send(error=str(error), alive=self._alive())
        if self._guestfs is not None:
            self._guestfs.close()

    def _alive(self) -> bool:
        return self._guestfs is not None and bool(self._guestfs.is_ready())

    def _answer(self, request: dict[str, Any]) -> str:
        match request:
            case {"launch": options}:
                return self._launch(**options)
            case {"sh": script}:
                return str(self._guestfs.debug("sh", [script]))
            case _:
                self._guestfs.shutdown()
                return ""

    def _launch(
        self,
        *,
        binding: str,
        settings: list[str],
        disks: list[list[str]],
        processors: int,
        memory: int | None,
        append: str,
        cache: str,
        verbose: bool,
    ) -> str:
        """Start the appliance and give its MiB of memory; `disks` are QEMU's options."""
        sys.path.append(binding)
        import guestfs  # noqa: PLC0415  # its place is known only now

        handle = self._guestfs = guestfs.GuestFS(python_return_dict=True)
        handle.set_event_callback(self._on_appliance, guestfs.EVENT_APPLIANCE)
        handle.set_event_callback(self._on_library, guestfs.EVENT_LIBRARY)
        handle.set_event_callback(self._on_progress, guestfs.EVENT_PROGRESS)
        handle.set_backend("direct")
        handle.set_backend_settings(settings)
        handle.set_autosync(True)
        handle.set_verbose(verbose)
        handle.set_smp(processors)
        handle.set_append(append)
        if memory is not None:
            handle.set_memsize(memory)
        handle.set_cachedir(cache)
        if not os.access(handle.get_hv(), os.X_OK):
            raise OSError(f"QEMU is absent: {handle.get_hv()}")
        handle.add_drive_scratch(1 << 20)  # libguestfs needs one that it attaches itself
        for options in disks:
            # libguestfs hands these on in the opposite order: the device first, then its drive.
            for option, value in zip(("-device", "-drive"), options, strict=True):
                handle.config(option, value)
        threading.Thread(target=_watch_for_qemu, daemon=True).start()
        handle.launch()
        return str(handle.get_memsize())

    def _on_appliance(self, _event: int, _handle: int, text: str | bytes, _array: object) -> None:
        """Pass on output of QEMU, of the appliance's kernel and of the programs in it."""
        output = _bytes(text)
        sys.stderr.buffer.write(output)
        sys.stderr.buffer.flush()
        *lines, self._unfinished = (self._unfinished + output.replace(b"\r", b"")).split(b"\n")
        for line in lines:
            _send(line=line.decode(errors="replace"))

    def _on_library(self, _event: int, _handle: int, text: str | bytes, _array: object) -> None:
        """Messages of libguestfs, a line or a part of a command at a time."""
        sys.stderr.buffer.write(_bytes(text).rstrip(b"\n") + b"\n")
        sys.stderr.buffer.flush()

    def _on_progress(self, _event: int, _handle: int, _text: object, array: list[int]) -> None:
        _send(progress=array[2:4])


def _bytes(text: str | bytes) -> bytes:
    """The text of an event, which newer releases of the binding give as bytes."""
    return text.encode() if isinstance(text, str) else text


def _watch_for_qemu() -> None:
    """Send an event once QEMU runs with our disks, which may be minutes after the launch began."""
    while True:
        for directory in _others():
            with suppress(OSError):
                if b",drive=disk0," in (directory / "cmdline").read_bytes():
                    _send(qemu="runs")
                    return
        time.sleep(_POLL)


def _others() -> Iterator[Path]:
    """The directories in /proc of all other processes of our process group.

    These are QEMU and the other programs that libguestfs started.
    """
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            with suppress(OSError):  # it has ended meanwhile
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
                if int(fields[_GROUP]) == os.getpgrp() and fields[_STATE] != "Z":
                    yield directory


if __name__ == "__main__":
    worker = RequestLoop()
    threading.Thread(target=worker.listen, daemon=True).start()
    worker.answer_all()
