"""BatchNorm over the rows of all processes: torch's SyncBatchNorm refuses processors."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deixis.training.ranks import ranks, stacked
from deixis.training.repeated_batchnorm import RepeatedBatchNorm2d

KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, RepeatedBatchNorm2d)


def synchronise(model: nn.Module) -> None:
    """Let every BatchNorm that is in training mode normalise by the rows of all processes; nothing in one process.

    Parameters, buffers and names stay, and in evaluation mode it is as before. A class that is derived from BatchNorm
    minds its own rows.
    """
    if ranks() == 1:
        return
    for norm in model.modules():
        if type(norm) in KINDS and norm.training:
            norm.forward = partial(_normalise, norm)  # type: ignore[method-assign]


def _normalise(norm: Any, x: Float[Tensor, "rows channels *places"]) -> Float[Tensor, "rows channels *places"]:
    if not norm.training:
        return type(norm).forward(norm, x)
    precise = x.to(torch.promote_types(x.dtype, torch.float32))  # where products are in half precision
    mean, variance, count = _statistics(precise)
    if norm.track_running_stats:
        values = count * getattr(norm, "repeats", 1)
        _remember(norm, mean.detach(), variance.detach() * values / (values - 1))
    shape = (1, -1, *[1] * (x.dim() - 2))
    scale = (variance + norm.eps).rsqrt()
    out = (precise - mean.view(shape)) * scale.view(shape)
    if norm.affine:
        out = out * norm.weight.view(shape) + norm.bias.view(shape)
    return out.to(x.dtype)


def _statistics(x: Tensor) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"], Float[Tensor, ""]]:
    """Mean and (biased) variance of each channel, and how many values it has.

    From means and squares about them of each process: sums of squares alone would cancel out (Chan et al. 1979).
    """
    channels = x.transpose(0, 1).flatten(1)
    means = channels.mean(1)
    spreads = (channels - means[:, None]).square().sum(1)
    counts = x.new_tensor([channels.shape[1]])
    means, spreads, counts = stacked(torch.cat([means, spreads, counts])).split([len(means), len(means), 1], 1)
    count = counts.detach().sum()
    mean = (counts.detach() * means).sum(0) / count
    spread = (spreads + counts.detach() * (means - mean).square()).sum(0)
    return mean, spread / count, count


@torch.no_grad()
def _remember(norm: Any, mean: Tensor, variance: Tensor) -> None:
    norm.num_batches_tracked.add_(1)
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.copy_((1 - share) * norm.running_mean + share * mean)
    norm.running_var.copy_((1 - share) * norm.running_var + share * variance)
