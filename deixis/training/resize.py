"""Random resize of images, one side per training step: half of the scheme that students are trained with."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from deixis.training.draws import drawn

ResizeMode = Literal["nearest", "bilinear"]


def draw_side(sides: Sequence[int]) -> int:
    """One of some sides in pixels, each as likely."""
    return sides[drawn(lambda: int(torch.randint(len(sides), ())))]


def resized(
    squares: UInt8[Tensor, "images 3 side side"], side: int, *, mode: ResizeMode
) -> UInt8[Tensor, "images 3 side side"] | Float[Tensor, "images 3 new_side new_side"]:
    """Images resampled to another side; levels stay in [0, 255], normalised boxes stay right."""
    if side == squares.shape[-1]:
        return squares
    return F.interpolate(squares.float(), size=(side, side), mode=mode, antialias=mode == "bilinear")
