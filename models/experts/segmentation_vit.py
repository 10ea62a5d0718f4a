"""Image encoder of a promptable segmenter (namesake: EfficientSAM): its neck output."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from models.blocks.build_sam import SmallSAMConfig, build_sam


class SegmentationViT(nn.Module):
    """Squares in, feature map out. Pretrained together with the segmenter, by `pretrain_segmenter`."""

    Config = SmallSAMConfig
    labels = "mask"

    def __init__(self, config: SmallSAMConfig) -> None:
        super().__init__()
        sam = build_sam(config)
        self.image_encoder = sam.image_encoder
        self.register_buffer("mean", sam.pixel_mean, persistent=False)
        self.register_buffer("std", sam.pixel_std, persistent=False)

    @torch.no_grad()
    def encode(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width h w"]:
        """Neck output."""
        return self.image_encoder((squares.float() - self.mean) / self.std)
