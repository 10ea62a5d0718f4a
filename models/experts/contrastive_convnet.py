"""Image-text contrastive convolutional network (namesake: OpenCLIP ConvNeXt): its last feature map."""

from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from pydantic.dataclasses import dataclass
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from deixis.config import STRICT
from deixis.images import standardise
from models.experts.contrastive_objective import ContrastiveObjective
from models.experts.contrastive_vit import CLIP_MEAN, CLIP_STD


@dataclass(frozen=True, config=STRICT)
class ContrastiveConvNetConfig:
    """Sizes; the defaults are ConvNeXt-Tiny's."""

    stride: int = 32  # pixels per cell of the map
    depths: tuple[int, int, int, int] = (3, 3, 9, 3)
    widths: tuple[int, int, int, int] = (96, 192, 384, 768)


class ContrastiveConvNet(nn.Module):
    """Squares in, feature map out."""

    Config = ContrastiveConvNetConfig
    labels = "caption"

    def __init__(self, config: ContrastiveConvNetConfig) -> None:
        super().__init__()
        self.width = config.widths[-1]
        self.convnext = ConvNeXt(
            depths=config.depths, dims=config.widths, output_stride=config.stride, num_classes=0, global_pool="avg"
        )

    @torch.no_grad()
    def encode(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width h w"]:
        """Map of the last stage."""
        return self.convnext.forward_features(standardise(squares, CLIP_MEAN, CLIP_STD))

    def pooled(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width"]:
        """Mean over the map, normalised."""
        return self.convnext(standardise(squares, CLIP_MEAN, CLIP_STD))

    def objective(self, captions: Callable[[], list[list[str]]]) -> nn.Module:
        """What this expert is pretrained with."""
        return ContrastiveObjective(self, captions())
