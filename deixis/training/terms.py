"""The named terms of a loss: their weighted sum, and their way to the host."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def with_total(terms: dict[str, Tensor], weights: Mapping[str, float]) -> dict[str, Tensor]:
    """The terms, and their weighted sum as `total`."""
    total = torch.stack([weights.get(name, 1.0) * term.float() for name, term in terms.items()]).sum()
    return terms | {"total": total}


def sent(terms: Mapping[str, Tensor]) -> Callable[[], dict[str, float]]:
    """Send the terms to the host, all at once.

    What is returned waits until they are there, and not for what a GPU was given to do after them.
    """
    values = torch.stack([term.detach().double() for term in terms.values()])
    if not values.is_cuda:
        return lambda: dict(zip(terms, values.tolist(), strict=True))
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()

    def received() -> dict[str, float]:
        arrived.synchronize()
        return dict(zip(terms, host.tolist(), strict=True))

    return received
