"""The clock of the host, for tests of what must not depend on it."""

import time


def wait_for_tick(since: float | None = None, *, step: int = 1) -> None:
    """Wait until the clock is in another step of so many seconds than at `since`, or than now."""
    start = (time.time() if since is None else since) // step
    while time.time() // step == start:
        time.sleep(0.01)
