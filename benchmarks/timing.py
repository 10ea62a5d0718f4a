"""How long a device takes, and a file of rows that is whole after every row."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from deixis.core.progress import say
from deixis.core.records import write_json

MOST_PASSES = 50  # in a block
Row = dict[str, float]


@dataclass(frozen=True)
class Timer:
    """Times passes in blocks, of which the median counts.

    Attributes:
        spend: Seconds for all blocks together.
    """

    device: torch.device
    spend: float
    blocks: int

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """Of one pass, in blocks between which the device is waited for, after two passes that do not count."""
        once = 0.0
        for _ in range(2):
            start = time.perf_counter()
            work()
            self.wait()
            once = time.perf_counter() - start
        passes = max(1, min(MOST_PASSES, int(self.spend / self.blocks / max(once, 1e-6))))
        blocks = []
        for _ in range(self.blocks):
            start = time.perf_counter()
            for _ in range(passes):
                work()
            self.wait()
            blocks.append((time.perf_counter() - start) / passes)
        return median(blocks)


def gflop(work: Callable[[], object]) -> float:
    """Of one pass, in billions."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e9


class Rows:
    """What was found, in a file that is whole after every row."""

    def __init__(self, meta: dict[str, Any], *, seconds: float, out: Path) -> None:
        self.found: dict[str, Any] = {"meta": meta}
        self._out, self._end = out, time.monotonic() + seconds

    def add(self, name: str, measure: Callable[[], Row]) -> None:
        """Measure a row, unless time is up; where memory does not suffice, the row says so."""
        row: dict[str, float | str]
        if time.monotonic() > self._end:
            row = {"left_out": "time is up"}
        else:
            try:
                row = {what: float(f"{value:.4g}") for what, value in measure().items()}
            except torch.OutOfMemoryError:
                row = {"left_out": "out of memory"}
            if torch.cuda.is_available():
                gc.collect()
                torch.cuda.empty_cache()
        say(f"{name}: {row}")
        self.found[name] = row
        write_json(self.found, self._out)
