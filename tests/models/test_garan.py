"""Global attention where its answer is known beforehand, and its size in both forms."""

import pytest
import torch

from models.blocks.garan import GlobalAttention


def attention(orientation: str = "correct") -> GlobalAttention:
    torch.manual_seed(0)
    return GlobalAttention(8, 6, heads=2, orientation=orientation).eval()


def test_g1_without_kernels_half_the_mean_value_comes_everywhere():
    module = attention()
    for kernel in (module.collect_key, module.diffuse_key):
        torch.nn.init.zeros_(kernel.weight)
        torch.nn.init.zeros_(kernel.bias)
    x, text = torch.randn(2, 8, 3, 5), torch.randn(2, 6)
    expected = 0.5 * module.value(x).mean((2, 3), keepdim=True).expand(2, 8, 3, 5)
    torch.testing.assert_close(module.attend(x, text)[0], expected)


@pytest.mark.parametrize(("orientation", "place"), [("correct", (0, 1)), ("transposed", (1, 0))])
@torch.no_grad()
def test_g2_orientation(orientation, place):
    module = attention(orientation)
    for part in (module.query, module.collect_key, module.diffuse_key, module.value, module.output[0]):
        torch.nn.init.zeros_(part.weight)
        if part.bias is not None:
            torch.nn.init.zeros_(part.bias)
    module.query.bias.fill_(1)
    module.diffuse_key.bias.fill_(-30)
    module.diffuse_key.weight[:, 0] = 600  # closed everywhere but where channel 0 is set
    module.value.bias.fill_(1)
    module.output[0].weight[:, :, 0, 0] = torch.eye(8)
    x = torch.zeros(1, 8, 3, 3)
    x[0, 0, 0, 1] = 0.1
    response = (module(x, torch.zeros(1, 6)).map - x)[0, 1]
    expected = torch.zeros(3, 3)
    expected[place] = 1
    torch.testing.assert_close(response, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("has_projection", "millions"), [(True, 1.3138), (False, 1.0516)])
def test_parameters_at_paper_scale(has_projection, millions):
    module = GlobalAttention(512, 512, heads=2, has_projection=has_projection)
    assert sum(p.numel() for p in module.parameters()) / 1e6 == pytest.approx(millions, abs=1e-4)
