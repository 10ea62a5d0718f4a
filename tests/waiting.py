"""Waiting for what other processes do, but not for ever."""

import time
from collections.abc import Callable


def wait_until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Return as soon as something holds.

    Raises:
        AssertionError: If it does not within so many seconds.
    """
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds:g} seconds in vain"
        time.sleep(0.05)
