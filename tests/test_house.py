"""The shape of the house: what docs/architecture.md promises of rooms and arrows."""

import subprocess

from tests.support.places import COMMANDS, REPOSITORY


def test_imports_run_down_the_list_of_rooms_only() -> None:
    """pyproject.toml has the list; without this test an arrow that runs up goes unnoticed."""
    done = subprocess.run(
        [COMMANDS / "lint-imports", "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
