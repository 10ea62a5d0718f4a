"""The two towers of TRIS and PCNet: pixels and phrases before they meet, and the frozen model they ask."""

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.checkpoints import load_state
from deixis.core.config import STRICT
from models.blocks.csp_darknet import CSPConfig, CSPDarkNet, as_input
from models.image_text import ImageText, load_image_text
from models.text.gru_attention import GRUAttentionEncoder, TextConfig


@dataclass(frozen=True, config=STRICT)
class TowersConfig:
    """Sizes. The published towers are CLIP's ResNet-50 and text transformer; here the students' backbone and a GRU."""

    backbone: CSPConfig = field(default_factory=CSPConfig)
    levels: Literal[1, 2] = 1  # 1: the coarse map, as published; 2: the middle one joins in, at its finer grid
    text: TextConfig = field(default_factory=TextConfig)
    learning_rate_factor: float = 0.1  # both towers start from pretrained weights


class Towers(nn.Module):
    """Pictures to maps, phrases to vectors."""

    def __init__(self, config: TowersConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.backbone = CSPDarkNet(config.backbone)
        self.text_encoder = GRUAttentionEncoder(config.text, vocabulary)
        self.levels = config.levels
        self.pixel_width = sum(config.backbone.widths[-config.levels :])

    def start_from(self, weights: Path, *, judge: str, device: torch.device) -> ImageText:
        """Load the pretrained backbone, and the text tower of a contrastive expert.

        Returns:
            That expert, frozen: the image-text model that judges.
        """
        tensors, _ = load_state(weights / "backbone" / "model.safetensors")
        self.backbone.load_state_dict(tensors, strict=True)
        frozen = load_image_text(judge, weights, self.text_encoder.vocabulary, device)
        self.text_encoder.load_state_dict(frozen.matcher.text_encoder.state_dict())
        return frozen

    def pixels(self, squares: UInt8[Tensor, "images 3 side side"]) -> Float[Tensor, "images width h w"]:
        """One map per picture; where two levels join, each place is normalised by itself first."""
        _, middle, coarse = self.backbone(as_input(squares))
        if self.levels == 1:
            return coarse
        coarse = F.interpolate(coarse, size=middle.shape[-2:], mode="bilinear")
        return torch.cat([_place_norm(coarse), _place_norm(middle)], 1)

    def texts(self, tokens: Int[Tensor, "phrases length"]) -> Float[Tensor, "phrases width"]:
        """One vector per phrase."""
        return self.text_encoder(tokens).flat


def _place_norm(x: Float[Tensor, "images width h w"]) -> Float[Tensor, "images width h w"]:
    return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)
