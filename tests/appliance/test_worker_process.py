"""A worker that does not answer in time is ended; its preparations take no time of the limit.

Without these tests, a hanging appliance hangs the command.
"""

import threading
from pathlib import Path

import pytest

from assembler.appliance import worker
from assembler.appliance.worker_process import WorkerProcess
from assembler.host.progress import Progress

# Writes the events of its first argument, and answers when its standard input ends or at once.
SCRIPT = """
import json, sys
sys.stdin.readline()
for event in {events}:
    print(json.dumps(event), flush=True)
if {hangs}:
    sys.stdin.read()
    print(json.dumps({{"error": "QEMU was killed", "alive": False}}), flush=True)
else:
    print(json.dumps({{"done": "384"}}), flush=True)
"""
RUNS = {"qemu": "runs"}
LINE = {"line": "Linux version 6"}
BUILDING = {"progress": [0, 12]}
LONG = 3600  # seconds


@pytest.mark.parametrize(
    ("events", "limit", "timers"),
    [
        ([RUNS], 0.1, 1),
        ([RUNS, LINE], 0.1, 1),
        ([RUNS, LINE], LONG, 1),
        ([BUILDING, LINE], LONG, 0),  # it is still being built: that takes no time of the limit
        ([BUILDING, RUNS], LONG, 1),
        ([RUNS, RUNS], LONG, 1),
    ],
)
def test_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: object, limit: float, timers: int
) -> None:
    """With a short limit the worker hangs until it is ended, and must end by itself then."""
    started: list[float] = []

    class Timer(threading.Timer):
        def start(self) -> None:
            started.append(self.interval)
            super().start()

    too_slow = limit != LONG
    script = tmp_path / "worker.py"
    script.write_text(SCRIPT.format(events=events, hangs=too_slow))
    monkeypatch.setattr(worker, "__file__", str(script))
    monkeypatch.setattr(threading, "Timer", Timer)
    process = WorkerProcess(tmp_path / "log", tmp_path)
    process.start()
    running = process._running
    assert running is not None
    with Progress(quiet=True).step("starting", total=100, unit="%") as step:
        answer = process.call({"launch": {}}, None, step, limit=limit)
    process.end()
    assert running.returncode == 0  # not killed
    assert started == [limit] * timers
    assert process.was_too_slow is too_slow
    assert answer == ({"error": "QEMU was killed", "alive": False} if too_slow else {"done": "384"})
