"""Progress of anything longer than a few seconds: a bar on a terminal, plain lines in a log."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0
_quiet = False


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Show no progress of what happens inside: it is part of something larger that shows its own, or too short."""
    global _quiet
    before, _quiet = _quiet, True
    try:
        yield
    finally:
        _quiet = before


def track(items: Iterable[T], what: str, *, total: int) -> Iterator[T]:
    """Yield the items and show how far it is; `what` names the work in one or two words."""
    if _quiet:
        yield from items
        return
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            yield from bar.track(items, description=what, total=total)
        return
    started = last = time.monotonic()
    for done, item in enumerate(items):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            say(f"{what}: {done + 1}/{total} in {now - started:.0f} s")


def say(line: str) -> None:
    """Print one line of progress at once, so that logs of a killed run are complete."""
    print(line, file=sys.stderr, flush=True)
