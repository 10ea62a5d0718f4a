"""A contrastive expert with its text tower: a frozen image-text model, as CLIP is to the papers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.checkpoints import load_state
from deixis.core.errors import DataError
from deixis.core.frozen import freeze
from deixis.core.records import read_json
from models.encoders import load_expert
from models.experts.contrastive_objective import CaptionMatcher

WORD_TABLE = "text_encoder.embedding.weight"  # fixed vectors, drawn from each word: the same for any vocabulary


class ImageText(nn.Module):
    """Pictures and phrases in one space, both of unit length."""

    def __init__(self, expert: Any, matcher: CaptionMatcher) -> None:
        super().__init__()
        self.expert = expert
        self.matcher = matcher

    def images(self, squares: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width"]:
        """Embed pictures with levels from 0 to 255; a gradient may pass to them."""
        return F.normalize(self.matcher.image_project(self.expert.pooled(squares)), dim=-1)

    def texts(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch width"]:
        """Embed phrases."""
        return F.normalize(self.matcher.text_encoder(tokens).flat, dim=-1)


def load_image_text(name: str, weights: Path, vocabulary: Sequence[str], device: torch.device) -> ImageText:
    """A contrastive expert and its text tower, frozen, reading phrases in `vocabulary`."""
    folder = weights / name / "matcher"
    if not folder.exists():
        raise DataError(
            f"{folder}: missing. Only contrastive experts have a text tower. Run: dvc repro pretrain_expert@{name}, "
            "or name a contrastive expert in params.yaml"
        )
    expert = load_expert(name, weights / name, device)
    width = read_json(folder / "config.json", made_by=f"pretrain_expert@{name}")["width"]
    matcher = CaptionMatcher(width, vocabulary)
    tensors, _ = load_state(folder / "model.safetensors")
    tensors[WORD_TABLE] = matcher.state_dict()[WORD_TABLE]
    matcher.load_state_dict(tensors, strict=True)
    return freeze(ImageText(expert, matcher.to(device)))
