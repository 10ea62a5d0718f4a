"""The two towers of TRIS and PCNet: pixels and phrases before they meet."""

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.types import Reading
from models.backbones.clip_resnet import CLIPResNet, CLIPResNetConfig
from models.blocks.csp_darknet import CSPConfig, CSPDarkNet, as_input
from models.frozen.starts import start_part
from models.text.clip_text import CLIPText, CLIPTextConfig
from models.text.gru_attention import GRUAttentionEncoder, TextConfig


@dataclass(frozen=True, config=STRICT)
class TowersConfig:
    """Which towers, and their sizes.

    The published ones are CLIP's ResNet-50 and text transformer, `backbone: {kind: clip_resnet}` and
    `text: {kind: clip_text}`; without a kind they are the students' backbone and a GRU.
    """

    backbone: CSPConfig | CLIPResNetConfig = field(default_factory=CSPConfig)
    levels: Literal[1, 2] = 1  # 1: the coarse map, as published; 2: the middle one joins in, at its finer grid
    text: TextConfig | CLIPTextConfig = field(default_factory=TextConfig)
    learning_rate_factor: float = 0.1  # both towers start from pretrained weights


class Towers(nn.Module):
    """Images to maps, phrases to vectors."""

    def __init__(self, config: TowersConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        is_clip = isinstance(config.backbone, CLIPResNetConfig)
        self.backbone = CLIPResNet(config.backbone) if is_clip else CSPDarkNet(config.backbone)
        self.has_own_text = isinstance(config.text, CLIPTextConfig)  # or starts from the text tower of an expert
        encoder = CLIPText if self.has_own_text else GRUAttentionEncoder
        self.text_encoder = encoder(config.text, vocabulary)
        self.text_width = config.text.width
        self.levels = config.levels
        self.pixel_width = sum(config.backbone.widths[-config.levels :])
        self.starts = ("clip_resnet" if is_clip else "backbone", *(["clip_text"] if self.has_own_text else []))

    def start_from(self, weights: Path, expert: nn.Module | None) -> None:
        """Load the pretrained towers.

        Args:
            weights: Folder of frozen models.
            expert: A contrastive expert, whose text tower ours starts from; not read where ours has one published.
        """
        start_part(self.backbone, weights, self.starts[0])
        if self.has_own_text:
            start_part(self.text_encoder, weights, "clip_text")
        else:
            self.text_encoder.load_state_dict(expert.matcher.text_encoder.state_dict())

    def reading(self, side: int, *, keep_end: bool) -> Reading:
        """How images and phrases come to it: CLIP's tower takes stretched images, as published."""
        encoder = self.text_encoder
        stretch = isinstance(self.backbone, CLIPResNet)
        return Reading(side, encoder.vocabulary, encoder.config.length, stretch=stretch, keep_end=keep_end)

    def pixels(self, squares: UInt8[Tensor, "images 3 side side"]) -> Float[Tensor, "images width h w"]:
        """One map per image; where two levels join, each place is normalised by itself first."""
        _, middle, coarse = self.backbone(as_input(squares))
        if self.levels == 1:
            return coarse
        coarse = F.interpolate(coarse, size=middle.shape[-2:], mode="bilinear")
        return torch.cat([_place_norm(coarse), _place_norm(middle)], 1)

    def texts(self, tokens: Int[Tensor, "phrases length"]) -> Float[Tensor, "phrases width"]:
        """One vector per phrase, also of none."""
        if not len(tokens):
            return next(self.text_encoder.parameters()).new_zeros(0, self.text_width)
        return self.text_encoder(tokens).flat


def _place_norm(x: Float[Tensor, "images width h w"]) -> Float[Tensor, "images width h w"]:
    return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)
