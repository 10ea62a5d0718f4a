"""Atrous spatial pyramid pooling (DeepLab v3), as the mask heads of MCN and WeakMCN end: with LeakyReLU, not ReLU."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from models.blocks.layers import conv_bn


class ASPP(nn.Module):
    """One point-wise, several dilated and one pooled branch, joined into a single logit per place."""

    def __init__(self, channels: int, width: int, *, rates: Sequence[int]) -> None:
        super().__init__()
        dilated = [
            nn.Sequential(
                nn.Conv2d(channels, width, 3, padding=rate, dilation=rate, bias=False),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.1),
            )
            for rate in rates
        ]
        self.branches = nn.ModuleList([conv_bn(channels, width, 1), *dilated])
        self.pooled = conv_bn(channels, width, 1)
        self.output = nn.Conv2d((len(rates) + 2) * width, 1, 1)

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch 1 h w"]:
        """Logits.

        What `output` says of all branches joined is the sum of what it says of each: nothing is joined, and the pooled
        branch is weighed once and not at every place.
        """
        pooled = self.pooled(x.mean((2, 3), keepdim=True))[:, :, 0, 0]
        weights = self.output.weight[0, :, 0, 0].split(pooled.shape[1])
        logits = (pooled @ weights[-1] + self.output.bias)[:, None, None]
        for branch, weight in zip(self.branches, weights[:-1], strict=True):
            logits = logits + branch(x).permute(0, 2, 3, 1) @ weight
        return logits[:, None]
