"""Frozen image-text models: CLIP, as in the papers, or a contrastive expert with its text tower in its place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.checkpoints import load_checkpoint, load_state
from deixis.core.errors import ConfigError, DataError
from deixis.core.frozen import freeze
from deixis.core.records import described_file, read_json
from deixis.language.word_pieces import is_byte_pairs
from models.experts.contrastive_objective import CaptionMatcher, PooledEncoder
from models.frozen.experts import load_expert
from models.image_text.clip_image_text import CLIPImageText

WORD_TABLE = "text_encoder.embedding.weight"  # fixed vectors, drawn from each word: the same for any vocabulary


@runtime_checkable
class ImageText(Protocol):
    """Images and phrases in one space, both of unit length."""

    def images(self, squares: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width"]: ...
    def texts(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch width"]: ...


class ExpertImageText(nn.Module):
    """A contrastive expert and what matched it with captions."""

    def __init__(self, expert: PooledEncoder, matcher: CaptionMatcher) -> None:
        super().__init__()
        self.expert = expert
        self.matcher = matcher

    def images(self, squares: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width"]:
        """Embed images with levels from 0 to 255; a gradient may pass to them."""
        return F.normalize(self.matcher.image_project(self.expert.pooled(squares)), dim=-1)

    def texts(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch width"]:
        """Embed phrases."""
        return F.normalize(self.matcher.text_encoder(tokens).flat, dim=-1)


def load_image_text(name: str, weights: Path, vocabulary: Sequence[str], device: torch.device) -> ImageText:
    """A frozen image-text model reading phrases in `vocabulary`: CLIP, or a contrastive expert and its text tower.

    Raises:
        ConfigError: If it reads words and `vocabulary` is one of byte pairs, or the other way round.
        DataError: If the model has no text tower.
    """
    card = weights / name / "config.json"
    if card.exists() and read_json(card, made_by=f"pretrain_expert@{name}").get("kind") == CLIPImageText.kind:
        return _load_clip(weights / name, vocabulary, device)
    folder = weights / name / "matcher"
    if not folder.exists():
        raise DataError(
            f"{folder}: missing. Only contrastive experts have a text tower. Run: dvc repro pretrain_expert@{name}, "
            "or name a contrastive expert in params.yaml"
        )
    if is_byte_pairs(vocabulary):
        raise ConfigError(
            f"{weights / name}: an expert that reads words, but this vocabulary is one of byte pairs. Allowed: an "
            f"import of the kind {CLIPImageText.kind}. Name one as judge in params.yaml"
        )
    expert = load_expert(name, weights / name, device)
    width = read_json(folder / "config.json", made_by=f"pretrain_expert@{name}")["width"]
    matcher = CaptionMatcher(width, vocabulary)
    tensors, _ = load_state(described_file(folder, made_by=f"pretrain_expert@{name}"))
    tensors[WORD_TABLE] = matcher.state_dict()[WORD_TABLE]
    matcher.load_state_dict(tensors, strict=True)
    assert isinstance(expert, PooledEncoder)  # it has a matcher, so it was pooled for one
    return freeze(ExpertImageText(expert, matcher.to(device)))


def _load_clip(folder: Path, vocabulary: Sequence[str], device: torch.device) -> CLIPImageText:
    if not is_byte_pairs(vocabulary):
        raise ConfigError(
            f"{folder}: CLIP reads byte pairs, but this vocabulary is one of {len(vocabulary)} words. Allowed: a "
            "teacher whose own text tower is CLIP's. Name such a tower, or another judge, in params.yaml"
        )
    model_card = read_json(folder / "config.json", made_by="the import of CLIP")["model"]
    model = CLIPImageText(TypeAdapter(CLIPImageText.Config).validate_python(model_card), vocabulary)
    load_checkpoint(model, folder, made_by="the import of CLIP")
    return freeze(model.to(device))
