"""A 3x3 convolution of a map grown twofold, computed on the map before it grows."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

WIDE = 192  # input channels from which products of differences take less time than a transposed one, on processors


def convolve_grown(
    x: Float[Tensor, "batch channels h w"], weight: Float[Tensor, "out channels 3 3"]
) -> Float[Tensor, "batch out 2*h 2*w"]:
    """The convolution, with padding 1 and no bias, of `x` repeated twofold in both directions (nearest).

    Each grown pixel sees two by two pixels of `x` and no more: weights that meet the same pixel are added up before.
    That is four ninths of the products, and a quarter for wide maps. A test holds both to the plain form.
    """
    return _by_differences(x, weight) if weight.shape[1] >= WIDE else _transposed(x, weight)


def _transposed(x: Tensor, weight: Tensor) -> Tensor:
    upper, middle, lower = weight.permute(1, 2, 3, 0).unbind(1)
    left, centre, right = torch.stack([lower, middle + lower, upper + middle, upper], 1).unbind(2)
    kernel = torch.stack([right, centre + right, left + centre, left], 2).permute(0, 3, 1, 2)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1)


def _by_differences(x: Tensor, weight: Tensor) -> Tensor:
    """Nine products for each pixel of `x`, where one for each pixel that meets a weight would be sixteen.

    In one direction, weights (a, b, c) make two grown pixels of each pixel x[i], and zeros lie around the map:

        a x[i-1] + (b + c) x[i] = (a + b + c) x[i] - a (x[i] - x[i-1])
        (a + b) x[i] + c x[i+1] = (a + b + c) x[i] + c (x[i+1] - x[i])

    The first product on the right is the same, and a difference serves both of its neighbours: three, not four.
    """
    height, width = x.shape[2:]
    taps = _sum_and_ends(_sum_and_ends(weight.permute(2, 3, 0, 1)).transpose(0, 1)).transpose(0, 1)
    here = x.permute(0, 2, 3, 1)
    down, along = _differences(here, 1), _differences(here, 2)
    both = _differences(down, 2)
    mean = F.linear(here, taps[0, 0])
    vertical, horizontal = _each(down, taps[1:, 0]), _each(along, taps[0, 1:])
    diagonal = _each(both, taps[1:, 1:].flatten(0, 1))
    rows = []
    for lower in (0, 1):
        row = mean + vertical[lower][:, lower : lower + height]
        columns = [
            row
            + horizontal[right][:, :, right : right + width]
            + diagonal[2 * lower + right][:, lower : lower + height, right : right + width]
            for right in (0, 1)
        ]
        rows.append(torch.stack(columns, 3))
    return torch.stack(rows, 2).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def _sum_and_ends(taps: Tensor) -> Tensor:
    """Of weights (a, b, c) along the first dimension: a + b + c, -a and c."""
    return torch.stack([taps.sum(0), -taps[0], taps[2]])


def _differences(x: Tensor, dim: int) -> Tensor:
    """From each pixel to the next along one dimension, beginning and ending with the zeros around the map."""
    edge = torch.zeros_like(x.narrow(dim, 0, 1))
    return torch.diff(x, dim=dim, prepend=edge, append=edge)


def _each(x: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """One product for each of several weights, [weights, out, channels]."""
    return F.linear(x, weights.flatten(0, 1)).unflatten(-1, weights.shape[:2]).unbind(-2)
