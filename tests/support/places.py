"""Where tests run: the repository, its commands, the user that tests are, and what `as_root` is."""

import subprocess
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
COMMANDS = REPOSITORY / ".venv" / "bin"  # the installed programs
ASSEMBLE, PREPARE_ROOT, CHECK_IMAGE = (
    COMMANDS / name for name in ("assemble", "prepare-root", "check-image")
)
UNPRIVILEGED = 65534  # the user that tests become where root runs them

AsRoot = Callable[..., "subprocess.CompletedProcess[str]"]
