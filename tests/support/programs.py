"""The one way in which tests run a program."""

import os
import subprocess
from pathlib import Path


def run(*argv: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, whatever its exit status; `variables` change its environment."""
    return subprocess.run(
        [os.fspath(arg) for arg in argv],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=False,
    )
