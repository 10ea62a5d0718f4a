"""The basic colour words of English, and how much of each a box holds.

A pixel has the colour of the nearest of a few typical colours per word, in CIELAB. The eleven words are those of Berlin
and Kay (1969); the typical colours are our own choice.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

TYPICAL: dict[str, tuple[tuple[int, int, int], ...]] = {  # RGB levels
    "black": ((0, 0, 0), (30, 30, 30), (45, 42, 40)),
    "white": ((255, 255, 255), (225, 225, 225), (235, 230, 220)),
    "grey": ((128, 128, 128), (165, 165, 165), (95, 95, 95)),
    "red": ((200, 20, 30), (150, 25, 30), (230, 60, 60)),
    "orange": ((255, 140, 0), (230, 110, 30), (220, 130, 60)),
    "yellow": ((255, 230, 0), (230, 200, 60), (240, 230, 130)),
    "green": ((0, 150, 0), (40, 90, 40), (120, 180, 80), (90, 110, 60)),
    "blue": ((0, 60, 200), (50, 100, 180), (120, 170, 230), (30, 40, 90)),
    "purple": ((120, 40, 140), (90, 60, 120), (160, 120, 190)),
    "pink": ((255, 150, 190), (230, 120, 160), (240, 190, 200)),
    "brown": ((120, 70, 30), (90, 60, 40), (160, 110, 70)),
}
COLOURS = tuple(TYPICAL)
Part = Literal["whole", "head", "trunk", "legs", "feet", "clothes"]
PARTS: dict[Part, tuple[float, float, float, float]] = {  # left, top, right, bottom, as shares of a box
    "whole": (0.1, 0.1, 0.9, 0.9),
    "head": (0.1, 0.0, 0.9, 0.3),  # this and what follows: of an upright person
    "trunk": (0.15, 0.15, 0.85, 0.6),
    "legs": (0.15, 0.45, 0.85, 0.95),
    "feet": (0.1, 0.8, 0.9, 1.0),
    "clothes": (0.15, 0.15, 0.85, 0.8),
}
SRGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
D65 = (0.95047, 1.0, 1.08883)  # white of daylight, for an eye that sees two degrees
STEP = 8  # levels that a table of all colours does not tell apart


def colour_shares(
    squares: UInt8[Tensor, "batch 3 side side"], boxes_xyxy: Float[Tensor, "batch boxes 4"]
) -> Float[Tensor, "batch boxes parts colours"]:
    """Share of each colour of `COLOURS` in each of the `PARTS` of each box; boxes in pixels of the square, RGB.

    Of what lies outside of the square nothing counts; a part without a pixel has the colour of the nearest one.
    """
    side = squares.shape[-1]
    low, size = boxes_xyxy[..., None, :2], (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=0)[..., None, :]
    parts = boxes_xyxy.new_tensor(list(PARTS.values()))
    start = (low + parts[:, :2] * size).round().long().clamp(0, side - 1)
    end = (low + parts[:, 2:] * size).round().long().clamp(max=side).maximum(start + 1)
    images = zip(name_colours(squares), start, end, strict=True)
    inside = torch.stack([_counts(names, *corners) for names, *corners in images])
    return inside / inside.sum(-1, keepdim=True)


def _counts(
    names: Int[Tensor, "side side"], start: Int[Tensor, "boxes parts 2"], end: Int[Tensor, "boxes parts 2"]
) -> Int[Tensor, "boxes parts colours"]:
    """Pixels of each colour between corners x, y; of one image, whose sums then stay near the processor."""
    colours = torch.arange(len(COLOURS), device=names.device)[:, None, None]
    sums = (names == colours).cumsum(2, dtype=torch.int32).cumsum(1, dtype=torch.int32)
    sums = F.pad(sums, (1, 0, 1, 0))  # [colours, side + 1, side + 1]: of all pixels above and to the left
    (left, top), (right, bottom) = start.unbind(-1), end.unbind(-1)
    inside = sums[:, bottom, right] - sums[:, top, right] - sums[:, bottom, left] + sums[:, top, left]
    return inside.permute(1, 2, 0)


def name_colours(squares: UInt8[Tensor, "batch 3 h w"]) -> Tensor:
    """Number of each pixel's colour in `COLOURS`, [batch, h, w]."""
    red, green, blue = (squares // STEP).long().unbind(1)
    return _table().to(squares.device)[red, green, blue]


@lru_cache(maxsize=1)
def _table() -> Tensor:
    """Numbers of the colours of all RGB levels, in steps."""
    levels = (np.arange(0, 256, STEP) + STEP / 2) / 255
    every = cielab(np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3))
    typical = cielab(np.array([colour for colours in TYPICAL.values() for colour in colours]) / 255)
    word = np.repeat(np.arange(len(COLOURS)), [len(colours) for colours in TYPICAL.values()])
    nearest = ((typical**2).sum(1) - 2 * every @ typical.T).argmin(1)  # every colour's own square orders nothing
    return torch.from_numpy(word[nearest]).reshape((len(levels),) * 3)


def cielab(rgb: Float[np.ndarray, "*colours 3"]) -> Float[np.ndarray, "*colours 3"]:
    """Colours of sRGB, from 0 to 1, in CIELAB under D65.

    As scikit-image has it; importing that takes a third of a second, a tenth of an answer to one photograph.

    Source: IEC 61966-2-1; CIE 15.
    """
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    x, y, z = np.moveaxis(_lightness(linear @ np.array(SRGB_TO_XYZ).T / D65), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def _lightness(shares: np.ndarray) -> np.ndarray:
    """CIELAB's cube root, which is a line in the dark."""
    return np.where(shares > 0.008856, np.cbrt(shares), 7.787 * shares + 16 / 116)
