"""A 3x3 convolution of a map grown twofold, computed on the map before it grows."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

WIDE = 256  # input channels from which four convolutions take less time than one transposed one, on processors


def convolve_grown(
    x: Float[Tensor, "batch channels h w"], weight: Float[Tensor, "out channels 3 3"]
) -> Float[Tensor, "batch out 2*h 2*w"]:
    """The convolution, with padding 1 and no bias, of `x` repeated twofold in both directions (nearest).

    Each grown pixel sees two by two pixels of `x` and no more: weights that meet the same pixel are added up before.
    That is four ninths of the products. A test holds it to the plain form.
    """
    return _by_phases(x, weight) if weight.shape[1] >= WIDE else _transposed(x, weight)


def _transposed(x: Tensor, weight: Tensor) -> Tensor:
    upper, middle, lower = weight.permute(1, 2, 3, 0).unbind(1)
    left, centre, right = torch.stack([lower, middle + lower, upper + middle, upper], 1).unbind(2)
    kernel = torch.stack([right, centre + right, left + centre, left], 2).permute(0, 3, 1, 2)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1)


def _by_phases(x: Tensor, weight: Tensor) -> Tensor:
    """Four 2x2 convolutions: of upper left, upper right, lower left and lower right pixels of each grown square."""
    height, width = x.shape[2:]
    upper, middle, lower = weight.permute(0, 2, 3, 1).unbind(1)
    rows = []
    for down, taps in enumerate(([upper, middle + lower], [upper + middle, lower])):
        left, centre, right = torch.stack(taps, 1).unbind(2)
        columns = []
        for along, pair in enumerate(([left, centre + right], [left + centre, right])):
            kernel = torch.stack(pair, 2).permute(0, 3, 1, 2)
            phase = F.conv2d(x, kernel, padding=1)[..., down : down + height, along : along + width]
            columns.append(phase.permute(0, 2, 3, 1))
        rows.append(torch.stack(columns, 3))
    return torch.stack(rows, 2).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
