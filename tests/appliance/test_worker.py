"""The process that holds the libguestfs handle, with a stand-in for the binding.

Without these tests, errors of libguestfs can reach the user as those of our own process.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assembler.appliance import worker

# Takes every setting, and answers `launch` with EVENTS, the words of the appliance.
_BINDING = """
EVENT_APPLIANCE, EVENT_LIBRARY, EVENT_PROGRESS = range(3)

class GuestFS:
    def __init__(self, **options):
        self.callbacks = {}
    def set_event_callback(self, callback, event):
        self.callbacks[event] = callback
    def launch(self):
        for words in EVENTS:
            self.callbacks[EVENT_APPLIANCE](0, 0, words, [])
        self.callbacks[EVENT_LIBRARY](0, 0, EVENTS[0], [])
        self.callbacks[EVENT_PROGRESS](0, 0, EVENTS[0][:0], [0, 0, 3, 4])
    def get_hv(self):
        return "/bin/true"
    def get_memsize(self):
        return 500
    def __getattr__(self, name):
        return lambda *arguments: None
"""
_OPTIONS = {"settings": [], "disks": [], "processors": 1, "memory": None, "append": ""}


@pytest.mark.parametrize(
    ("events", "printed", "lines"),
    [
        (["a", "ä\r\nb\n", "c"], "aä\r\nb\nca\n", ["aä", "b"]),  # libguestfs 1.48
        # 1.54: an event may end within a character, and hold what is no text
        ([b"a\xc3", b"\xa4\r\nb\xff\n", b"c"], b"a\xc3\xa4\r\nb\xff\nca\xc3\n", ["aä", "b\ufffd"]),
    ],
)
def test_events_are_text_or_bytes(
    tmp_path: Path, events: list[str | bytes], printed: str | bytes, lines: list[str]
) -> None:
    (tmp_path / "guestfs.py").write_text(f"EVENTS = {events!r}\n{_BINDING}")
    options = {**_OPTIONS, "binding": str(tmp_path), "cache": str(tmp_path), "verbose": False}
    done = subprocess.run(
        [sys.executable, "-I", "-S", worker.__file__],  # -S: not the binding of the host
        input=json.dumps({"launch": options}).encode() + b"\n",
        capture_output=True,
        timeout=60,
        start_new_session=True,  # it ends its process group
    )
    assert done.stderr == (printed.encode() if isinstance(printed, str) else printed)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[:-2] == [{"line": line} for line in lines]
    assert answers[-2:] == [{"progress": [3, 4]}, {"done": "500"}]
