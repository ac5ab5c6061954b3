"""The clock of the host, for tests of what must not depend on it."""

import time


def wait_for_tick(since: float | None = None, *, step: int = 1) -> None:
    """Sleep until the clock is in another step of so many seconds than at `since`, or than now.

    The clock is what the tests are about: there is no event to wait for but the time itself.
    """
    start = time.time() if since is None else since
    tick = (start // step + 1) * step
    while (left := tick - time.time()) > 0:  # once, unless the clock is set back
        time.sleep(left)
