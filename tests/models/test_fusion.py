"""Fusion of three scales: growing a map behind a 1x1 convolution changes nothing."""

import torch
from torch.nn import functional as F

from models.blocks.layers import MultiScaleFusion


def test_bilinear_growth_behind_the_convolution_is_growth_before_it():
    torch.manual_seed(0)
    fusion = MultiScaleFusion((6, 5, 4), 8, outputs=("fine",), upsampling="bilinear").train()
    coarse, middle, fine = torch.randn(2, 6, 3, 3), torch.randn(2, 5, 6, 6), torch.randn(2, 4, 12, 12)

    def grow(x):
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)

    with torch.no_grad():
        both = torch.cat([fusion.up_middle(grow(coarse)), middle], 1)
        expected = fusion.project["fine"](torch.cat([fusion.up_fine(grow(both)), fine], 1))
        torch.testing.assert_close(fusion(coarse, middle, fine)["fine"], expected, atol=1e-5, rtol=1e-4)
