"""EfficientSAM's image encoder (Xiong et al. 2024), -Ti or -S, as DViN and WeakMCN ask it: its neck output."""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from pydantic.dataclasses import dataclass
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.core.published import check_published, count_layers, published_tensor, read_tensors
from deixis.imaging.images import standardise

HEAD_WIDTH = 64  # of both published sizes
PRETRAINED_SIDE = 224  # that the position table is stored for


@dataclass(frozen=True, config=STRICT)
class EfficientSAMViTConfig:
    """Sizes; the defaults are -Ti. -S has width 384 and 6 heads. Any input side that `patch` divides will do."""

    patch: int = 16
    width: int = 192
    depth: int = 12
    heads: int = 3
    neck_width: int = 256


class EfficientSAMViT(nn.Module):
    """Squares in, feature map out, a vector per patch. Parameters have the published names."""

    Config = EfficientSAMViTConfig
    labels = "mask"

    def __init__(self, config: EfficientSAMViTConfig) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block  # seconds, which no other model should pay

        width, neck = config.width, config.neck_width
        self.width = neck
        places = 1 + (PRETRAINED_SIDE // config.patch) ** 2  # the first was the class token's, which is not used
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, config.patch, config.patch)})
        self.pos_embed = nn.Parameter(torch.zeros(1, places, width))
        self.blocks = nn.ModuleList(Block(width, config.heads, qkv_bias=True) for _ in range(config.depth))
        self.neck = nn.Sequential(
            nn.Conv2d(width, neck, 1, bias=False),
            LayerNorm2d(neck),
            nn.Conv2d(neck, neck, 3, padding=1, bias=False),
            LayerNorm2d(neck),
        )

    @torch.no_grad()
    def encode(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width h w"]:
        """Neck output."""
        return self(standardise(squares))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch neck h w"]:
        """Neck output of standardised images."""
        x = self.patch_embed["proj"](images)
        grid = x.shape[-2:]
        x = (x + self._positions(grid)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.neck(x.transpose(1, 2).unflatten(2, grid))

    def _positions(self, grid: torch.Size) -> Float[Tensor, "1 width h w"]:
        side = round((self.pos_embed.shape[1] - 1) ** 0.5)
        table = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        if tuple(grid) == (side, side):
            return table
        return F.interpolate(table, size=grid, mode="bicubic", align_corners=False)

    @staticmethod
    def read_published(path: Path) -> tuple[EfficientSAMViTConfig, dict[str, Tensor]]:
        """Sizes and state from the published file; what follows the image encoder is left out."""
        prefix = "image_encoder."
        tensors = {
            name.removeprefix(prefix): tensor for name, tensor in read_tensors(path).items() if name.startswith(prefix)
        }
        config = encoder_config(tensors, path=path)
        return config, check_published(lambda: EfficientSAMViT(config), tensors, path=path)


def encoder_config(tensors: dict[str, Tensor], *, path: Path) -> EfficientSAMViTConfig:
    """Sizes of an image encoder from its published tensors."""
    width, _, patch, _ = published_tensor(tensors, "patch_embed.proj.weight", path=path).shape
    neck = published_tensor(tensors, "neck.0.weight", path=path).shape[0]
    depth = count_layers(tensors, "blocks.")
    return EfficientSAMViTConfig(
        patch=patch, width=width, depth=depth, heads=max(1, width // HEAD_WIDTH), neck_width=neck
    )
