"""Atrous spatial pyramid pooling: equal to the release's, written out with torch's functions."""

import torch
from torch.nn import functional as F

from models.blocks.aspp import ASPP


@torch.no_grad()
def test_it_is_the_published_function_with_leaky_relu():
    torch.manual_seed(0)
    model = ASPP(6, 4, rates=(1, 2, 3)).eval()
    for buffer in model.buffers():
        if buffer.dtype.is_floating_point:
            buffer.uniform_(0.5, 1.5)
    x = torch.randn(2, 6, 7, 7)

    def layer(block, y, rate):
        conv, norm = block[0], block[1]
        y = F.conv2d(y, conv.weight, padding=rate, dilation=max(rate, 1))
        y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return F.leaky_relu(y, 0.1)

    branches = [layer(block, x, rate) for block, rate in zip(model.branches, (0, 1, 2, 3), strict=True)]
    pooled = layer(model.pooled, F.adaptive_avg_pool2d(x, 1), 0).repeat(1, 1, 7, 7)
    expected = F.conv2d(torch.cat([*branches, pooled], 1), model.output.weight, model.output.bias)
    torch.testing.assert_close(model(x), expected)
