"""Fusion of three scales: growing a map as late as possible changes nothing."""

import pytest
import torch
from torch.nn import functional as F

from models.blocks.layers import MultiScaleFusion

SIZES = ((1, 2), (5, 7))
WIDTHS = {"narrow": 12, "wide": 512}  # below and from where products of differences take over


def plain(fusion, coarse, middle, fine, grow):
    """The published order: every layer behind the growth."""
    middle_up = torch.cat([fusion.up_middle(grow(coarse)), middle], 1)
    fine_up = torch.cat([fusion.up_fine(grow(middle_up)), fine], 1)
    middle_down = torch.cat([fusion.down_middle(F.avg_pool2d(fine_up, 2)), middle_up], 1)
    coarse_down = torch.cat([fusion.down_coarse(F.avg_pool2d(middle_down, 2)), coarse], 1)
    maps = {"coarse": coarse_down, "middle": middle_down, "fine": fine_up}
    return {name: fusion.project[name](x) for name, x in maps.items()}


def with_published_norms(fusion):
    """Two layers count values of the small map fourfold; behind the growth they are there four times."""
    for up in (fusion.up_middle, fusion.up_fine):
        norm = torch.nn.BatchNorm2d(len(up[0][1].weight), dtype=torch.float64)
        norm.load_state_dict(up[0][1].state_dict())
        up[0][1] = norm
    return fusion


def of_a_step(fusion, answer, maps):
    """Outputs, gradients of maps and weights, and buffers afterwards."""
    inputs = [x.clone().requires_grad_() for x in maps]
    outputs = answer(*inputs)
    sum((x * torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view(x.shape)).sum() for x in outputs.values()).backward()
    gradients = {name: p.grad for name, p in fusion.named_parameters()}
    return outputs | dict(enumerate(x.grad for x in inputs)) | gradients | dict(fusion.named_buffers())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_nearest_growth_behind_the_layers_is_growth_before_them(width, size, training):
    torch.manual_seed(0)
    channels = (6, 5, 4)
    made = [MultiScaleFusion(channels, width).double() for _ in range(2)]
    for name, buffer in made[0].named_buffers():
        if name.endswith(("mean", "var")):
            buffer.uniform_(0.5, 1.5)
    made[1].load_state_dict(made[0].state_dict())
    ours, theirs = made[0].train(training), with_published_norms(made[1]).train(training)
    maps = [
        torch.randn(3, c, *(2**level * side for side in size), dtype=torch.float64) for level, c in enumerate(channels)
    ]

    def grow(x):
        return F.interpolate(x, scale_factor=2.0, mode="nearest")

    found = of_a_step(ours, ours, maps)
    expected = of_a_step(theirs, lambda *inputs: plain(theirs, *inputs, grow), maps)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-10, rtol=1e-10, msg=str(name))


def test_bilinear_growth_behind_the_convolution_is_growth_before_it():
    torch.manual_seed(0)
    fusion = MultiScaleFusion((6, 5, 4), 8, upsampling="bilinear").train()
    coarse, middle, fine = torch.randn(2, 6, 3, 3), torch.randn(2, 5, 6, 6), torch.randn(2, 4, 12, 12)

    def grow(x):
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)

    with torch.no_grad():
        expected = plain(fusion, coarse, middle, fine, grow)
        torch.testing.assert_close(fusion(coarse, middle, fine), expected, atol=1e-5, rtol=1e-4)
