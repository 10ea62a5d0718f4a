"""Feature pyramid (FPN) with levels beyond the coarsest map, down to a single cell."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class FeaturePyramid(nn.Module):
    """Top-down sums of three maps, then two strided convolutions and a pooled cell, as RealGIN's released code has it.

    The levels end with the first of one cell: maps 40, 20 and 10 cells wide give 40, 20, 10, 5, 3 and 1; maps of 16, 8
    and 4 give 16, 8, 4, 2 and 1.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for _ in range(3))
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        self.beyond = nn.ModuleList(nn.Conv2d(c, width, 3, 2, 1) for c in (channels, width))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Fine, middle and coarse map, [batch, channels, h, w] each -> levels [batch, width, h, w], fine to coarse."""
        merged = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for finer in (1, 0):
            merged[finer] = merged[finer] + F.interpolate(merged[finer + 1], size=merged[finer].shape[-2:])
        levels = [smooth(x) for smooth, x in zip(self.smooth, merged, strict=True)]
        first, second = self.beyond
        levels.append(first(maps[-1]))
        if levels[-1].shape[-1] > 1:
            levels.append(second(levels[-1].relu()))
        if levels[-1].shape[-1] > 1:
            levels.append(F.adaptive_avg_pool2d(levels[-1], 1))
        return levels
