"""Processes that train together, for tests: started from a server that has imported everything once."""

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

PATIENCE = timedelta(seconds=60)  # with a process that failed


def run_together(work: Callable[..., None], processes: int, *arguments: Any) -> None:
    """Call `work(number, *arguments)` in so many processes, and wait for them.

    Raises:
        AssertionError: If one fails; its own output says how.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work.__module__])
    started = [context.Process(target=work, args=(number, *arguments)) for number in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * processes


def join_group(number: int, size: int, folder: Path) -> None:
    """Make this process one of a group that meets in a folder; a group of one is none."""
    torch.set_num_threads(1)
    if size > 1:
        meeting = f"file://{folder}/group-of-{size}"
        dist.init_process_group("gloo", init_method=meeting, rank=number, world_size=size, timeout=PATIENCE)


def leave_group() -> None:
    """For another one."""
    if dist.is_initialized():
        dist.destroy_process_group()
