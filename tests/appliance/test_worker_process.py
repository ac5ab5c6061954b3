"""A worker whose events stop is ended in time; one that goes on is not."""

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
    ("events", "hangs", "silent"),
    [
        ([(RUNS, 0)], True, True),
        ([(RUNS, 0), (LINE, 0)], True, True),
        ([(RUNS, 0.3), (LINE, 0.3), (LINE, 0.3)], False, False),
        ([({"progress": [0, 12]}, 1.0), (RUNS, 0)], False, False),  # it is still being built
    ],
)
def test_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: object, hangs: bool, silent: bool
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(SCRIPT.format(events=events, hangs=hangs))
    monkeypatch.setattr(worker, "__file__", str(script))
    process = WorkerProcess(tmp_path / "log", tmp_path)
    process.start()
    begin = time.monotonic()
    with Progress(quiet=True).step("starting", total=100, unit="%") as step:
        answer = process.call({"launch": {}}, None, step, silence=0.6)
    process.end()
    assert time.monotonic() - begin < 10
    assert process.was_silent is silent
    assert answer == ({"error": "QEMU was killed", "alive": False} if silent else {"done": "384"})
