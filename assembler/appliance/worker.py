"""Holds the libguestfs handle, in a process of its own that can be ended whatever it is doing.

Run as a script; it stands alone. Standard input brings a request a line, as JSON; standard output
carries what happens meanwhile and then one answer:

    {"launch": {…}} | {"sh": "…"} | {"shutdown": true}                      requests
    {"line": "…"} | {"progress": [position, total]}                         meanwhile
    {"done": "…"} | {"error": "…", "alive": bool}                           answers

When standard input ends, so does the work: QEMU is killed and libguestfs removes its files.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

_PATIENCE = 10  # seconds that libguestfs has to clean up behind a killed QEMU
_STATE, _GROUP = 0, 2  # fields of /proc/PID/stat behind the name (proc_pid_stat(5))


def _say(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class Worker:
    """Serves the requests, one after another."""

    def __init__(self) -> None:
        self._requests: queue.Queue[dict[str, Any]] = queue.Queue()
        self._guestfs: Any = None
        self._unfinished = b""

    def listen(self) -> None:
        """Take requests in; at their end, see that everything ends."""
        for line in sys.stdin:
            self._requests.put(json.loads(line))
        self._requests.put({"end": True})
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            _kill_others()  # again and again: supermin may be about to be followed by QEMU
            time.sleep(0.2)
        os.killpg(0, signal.SIGKILL)

    def serve(self) -> None:
        """Answer requests until they end."""
        while "end" not in (request := self._requests.get()):
            try:
                _say(done=self._answer(request))
            except (RuntimeError, OSError, ImportError) as error:
                _say(error=str(error), alive=self._alive())
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
        handle.set_event_callback(self._heard, guestfs.EVENT_APPLIANCE)
        handle.set_event_callback(self._told, guestfs.EVENT_LIBRARY)
        handle.set_event_callback(self._progressed, guestfs.EVENT_PROGRESS)
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
        handle.add_drive_scratch(1 << 20)  # libguestfs wants one that it attaches itself
        for options in disks:
            # libguestfs hands these on in the opposite order: the device first, then its drive.
            for option, value in zip(("-device", "-drive"), options, strict=True):
                handle.config(option, value)
        handle.launch()
        return str(handle.get_memsize())

    def _heard(self, _event: int, _handle: int, text: str | bytes, _array: object) -> None:
        """Words of QEMU, of the appliance's kernel and of what runs in it."""
        said = _bytes(text)
        sys.stderr.buffer.write(said)
        sys.stderr.buffer.flush()
        *lines, self._unfinished = (self._unfinished + said.replace(b"\r", b"")).split(b"\n")
        for line in lines:
            _say(line=line.decode(errors="replace"))

    def _told(self, _event: int, _handle: int, text: str | bytes, _array: object) -> None:
        """Words of libguestfs, a line or a part of a command at a time."""
        sys.stderr.buffer.write(_bytes(text).rstrip(b"\n") + b"\n")
        sys.stderr.buffer.flush()

    def _progressed(self, _event: int, _handle: int, _text: object, array: list[int]) -> None:
        _say(progress=array[2:4])


def _bytes(text: str | bytes) -> bytes:
    """The text of an event, which newer releases of the binding give as bytes."""
    return text.encode() if isinstance(text, str) else text


def _kill_others() -> None:
    """Kill every other process of our process group: QEMU and what libguestfs started besides."""
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            try:
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
                if int(fields[_GROUP]) == os.getpgrp() and fields[_STATE] != "Z":
                    os.kill(int(directory.name), signal.SIGKILL)
            except OSError:
                continue  # it has ended meanwhile


if __name__ == "__main__":
    worker = Worker()
    threading.Thread(target=worker.listen, daemon=True).start()
    worker.serve()
