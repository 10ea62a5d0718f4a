"""OpenCLIP's ConvNeXt (Cherti et al. 2023): its last map in the space shared with texts, place by place.

DViN does not name its model, and asks a library for a map that it does not give. Of the published ones only
`convnext_large_d` (also `_320`) speaks in 768 channels, the width that DViN projects from: its head, which follows the
mean over the map there, is applied to each place here.
"""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.core.published import check_published, count_layers, published_tensor, read_tensors, renamed
from deixis.imaging.images import standardise
from models.experts.contrastive_vit import CLIP_MEAN, CLIP_STD

NORM_EPS = 1e-6
TO_OURS = {
    r"^visual\.trunk\.head\.norm\.": "norm.",
    r"^visual\.trunk\.": "trunk.",
    r"^visual\.head\.mlp\.fc1\.": "widen.",
    r"^visual\.head\.mlp\.fc2\.": "project.",
}


@dataclass(frozen=True, config=STRICT)
class CLIPConvNeXtConfig:
    """Sizes; the defaults are convnext_large_d. Any input side that 32 divides will do."""

    depths: tuple[int, ...] = (3, 3, 27, 3)
    widths: tuple[int, ...] = (192, 384, 768, 1536)
    hidden: int = 1536  # of the head
    width: int = 768  # of the shared space


class CLIPConvNeXt(nn.Module):
    """Squares in, feature map out, at a 32nd of their side."""

    Config = CLIPConvNeXtConfig
    labels = "caption"

    def __init__(self, config: CLIPConvNeXtConfig) -> None:
        super().__init__()
        from timm.models.convnext import ConvNeXt  # seconds, which no other model should pay

        self.width = config.width
        self.trunk = ConvNeXt(depths=config.depths, dims=config.widths, num_classes=0)
        self.trunk.head = nn.Identity()  # ours follows, without the pooling
        self.norm = nn.LayerNorm(config.widths[-1], eps=NORM_EPS)
        self.widen = nn.Linear(config.widths[-1], config.hidden)
        self.project = nn.Linear(config.hidden, config.width, bias=False)

    @torch.no_grad()
    def encode(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width h w"]:
        """The head's answer at each place of the last map."""
        features = self.trunk.forward_features(standardise(squares, CLIP_MEAN, CLIP_STD)).permute(0, 2, 3, 1)
        return self.project(F.gelu(self.widen(self.norm(features)))).permute(0, 3, 1, 2)

    @staticmethod
    def read_published(path: Path) -> tuple[CLIPConvNeXtConfig, dict[str, Tensor]]:
        """Sizes and state from OpenCLIP's file; what is not vision is left out."""
        published = {name: tensor for name, tensor in read_tensors(path).items() if name.startswith("visual.")}
        tensors = renamed(published, TO_OURS)
        stages = range(count_layers(tensors, "trunk.stages."))
        width, hidden = published_tensor(tensors, "project.weight", path=path).shape
        config = CLIPConvNeXtConfig(
            depths=tuple(count_layers(tensors, f"trunk.stages.{stage}.blocks.") for stage in stages),
            widths=tuple(
                published_tensor(tensors, f"trunk.stages.{stage}.blocks.0.gamma", path=path).shape[0]
                for stage in stages
            ),
            hidden=hidden,
            width=width,
        )
        return config, check_published(lambda: CLIPConvNeXt(config), tensors, path=path)
