"""Device, precision and randomness: decided once per process."""

import contextlib
import os
import random
from typing import Literal

import numpy as np
import torch

from deixis.core.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]


def pick_device(requested: str) -> torch.device:
    """Turn `auto | cpu | cuda` into a device; the variable DEIXIS_DEVICE overrides `auto`.

    Raises:
        ConfigError: If the name is unknown, or `cuda` is asked for where torch sees none.
    """
    name = (os.environ.get("DEIXIS_DEVICE") or "auto") if requested == "auto" else requested
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f'device is "{name}". Allowed: auto, cpu, cuda. Pass --device cpu, or fix DEIXIS_DEVICE.')
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is cuda, but torch sees no GPU. Allowed here: auto, cpu. Pass --device cpu.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, and ask for the deterministic kernels.

    On a CPU that matters too: with two threads the gradient of an index that names a row twice is summed in whichever
    order the threads come. Where a GPU has no such kernel torch warns and goes on.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms would import the compiler, for seconds
    # Filling every new tensor costs a pass over its memory; the attribute is missing from torch's stubs.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def autocast(device: torch.device, *, on_processors: bool = False) -> contextlib.AbstractContextManager[object]:
    """Run matrix products in bfloat16 on a GPU; on a processor, many of which are slower then, if asked to."""
    if device.type == "cuda" or on_processors:
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
