"""Image-text contrastive vision transformer (namesake: CLIP ViT-B/32): patch states of its last block."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Num, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.imaging.images import standardise
from models.experts.contrastive_objective import ContrastiveObjective
from models.experts.vit import VisionTransformer

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, config=STRICT)
class ContrastiveViTConfig:
    """Sizes; the defaults are CLIP's base model on the teachers' 416-pixel input."""

    input_size: int = 416
    patch: int = 32
    width: int = 768
    depth: int = 12
    heads: int = 12


class ContrastiveViT(nn.Module):
    """Squares in, one vector per patch out: before the final norm, class token dropped."""

    Config = ContrastiveViTConfig
    labels = "caption"

    def __init__(self, config: ContrastiveViTConfig) -> None:
        super().__init__()
        self.width = config.width
        self.vit = VisionTransformer(
            input_size=config.input_size, patch=config.patch, width=config.width, depth=config.depth, heads=config.heads
        )

    @torch.no_grad()
    def encode(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width h w"]:
        """Patch states."""
        _, patches = self.vit(standardise(squares, CLIP_MEAN, CLIP_STD))
        return self.vit.to_map(patches)

    def pooled(self, squares: Num[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width"]:
        """Class token after the final norm, of levels from 0 to 255; a gradient may pass to them."""
        state, _ = self.vit(standardise(squares, CLIP_MEAN, CLIP_STD))
        return self.vit.norm(state)

    def objective(self, captions: Callable[[], list[list[str]]]) -> nn.Module:
        """What this expert is pretrained with."""
        return ContrastiveObjective(self, captions())
