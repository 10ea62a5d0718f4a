"""Random resize of images, one side per training step: half of the scheme that students are trained with."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

ResizeMode = Literal["nearest", "bilinear"]


def random_resize(
    squares: UInt8[Tensor, "images 3 side side"], sides: Sequence[int], *, mode: ResizeMode
) -> UInt8[Tensor, "images 3 side side"] | Float[Tensor, "images 3 new_side new_side"]:
    """Images resampled to one side drawn from `sides`; levels stay in [0, 255], normalised boxes stay right."""
    side = sides[int(torch.randint(len(sides), ()))]
    if side == squares.shape[-1]:
        return squares
    return F.interpolate(squares.float(), size=(side, side), mode=mode, antialias=mode == "bilinear")
