"""A plain vision transformer for the embedded experts: patch states and class token, before the final norm."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class VisionTransformer(nn.Module):
    """Pre-norm transformer on square images with learned positions."""

    def __init__(self, *, input_size: int, patch: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.side = input_size // patch
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, 1 + self.side**2, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, images: Float[Tensor, "batch 3 side side"]
    ) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch patches width"]]:
        """Class state and patch states of the last block, row-major, not yet normed."""
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return x[:, 0], x[:, 1:]

    def to_map(self, patches: Float[Tensor, "batch patches width"]) -> Float[Tensor, "batch width h w"]:
        """Patch states as a feature map."""
        return patches.transpose(1, 2).unflatten(2, (self.side, self.side))
