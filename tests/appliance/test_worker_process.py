"""A worker that does not answer in time is ended; its preparations take no time of the limit.

Without these tests, a hanging appliance hangs the command.
"""

import time
from pathlib import Path

import pytest

from assembler.appliance import worker
from assembler.appliance.worker_process import WorkerProcess
from assembler.host.progress import Progress

# Writes the events of its first argument, and answers when its standard input ends or at once.
SCRIPT = """
import json, sys, time
sys.stdin.readline()
for event, pause in {events}:
    print(json.dumps(event), flush=True)
    time.sleep(pause)
if {hangs}:
    sys.stdin.read()
    print(json.dumps({{"error": "QEMU was killed", "alive": False}}), flush=True)
else:
    print(json.dumps({{"done": "384"}}), flush=True)
"""
RUNS = {"qemu": "runs"}
LINE = {"line": "Linux version 6"}


@pytest.mark.parametrize(
    ("events", "hangs", "too_slow"),
    [
        ([(RUNS, 0)], True, True),
        ([(RUNS, 0), (LINE, 0)], True, True),
        ([(RUNS, 0.1), (LINE, 0.1)], False, False),
        ([({"progress": [0, 12]}, 1.0), (RUNS, 0)], False, False),  # it is still being built
    ],
)
def test_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: object, hangs: bool, too_slow: bool
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(SCRIPT.format(events=events, hangs=hangs))
    monkeypatch.setattr(worker, "__file__", str(script))
    process = WorkerProcess(tmp_path / "log", tmp_path)
    process.start()
    begin = time.monotonic()
    with Progress(quiet=True).step("starting", total=100, unit="%") as step:
        answer = process.call({"launch": {}}, None, step, limit=0.6)
    process.end()
    assert time.monotonic() - begin < 10
    assert process.was_too_slow is too_slow
    assert answer == ({"error": "QEMU was killed", "alive": False} if too_slow else {"done": "384"})
