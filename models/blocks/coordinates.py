"""Where each cell of a map lies, in channels beside what it shows, so that words of place have something to meet.

Eight channels, as in Yang et al. 2019 ("A fast and accurate one-stage approach to visual grounding"): the cell's
corners x0, y0, x1, y1, its centre x, y, and its width and height. The frame is the network's input square, padding
included: places run from -1 (left, top) to 1, sizes are shares of its side.
"""

import torch
from jaxtyping import Float
from torch import Tensor

COORDINATES = 8  # channels


def cell_places(maps: Float[Tensor, "batch width h w"]) -> Float[Tensor, "batch 2 h w"]:
    """Middle of every cell, x and y from -1 to 1."""
    height, width = maps.shape[2:]
    rows, columns = ((2 * torch.arange(n, device=maps.device) + 1) / n - 1 for n in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y]).to(maps.dtype).expand(maps.shape[0], -1, -1, -1)


def with_coordinates(maps: Float[Tensor, "batch width h w"]) -> Float[Tensor, "batch width+8 h w"]:
    """A map with the coordinates of its cells as its last eight channels."""
    height, width = maps.shape[2:]
    middle = cell_places(maps)
    size = middle.new_tensor([1 / width, 1 / height]).view(2, 1, 1).expand_as(middle)
    return torch.cat([maps, middle - size, middle + size, middle, size], 1)
