"""Frozen means no gradient and evaluation mode that survives `.train()`.

The published releases freeze weights only: BatchNorm statistics of their "frozen" detectors keep drifting.
"""

from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def freeze(module: M) -> M:
    """Freeze a module in place and return it."""
    module.requires_grad_(False)
    module.eval()
    module.train = lambda mode=True: module  # type: ignore[method-assign]
    return module
