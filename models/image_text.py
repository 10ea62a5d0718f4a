"""A contrastive expert with its text tower: a frozen image-text model, as CLIP is to the papers; and CLIP itself."""

from collections.abc import Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.checkpoints import load_checkpoint, load_state
from deixis.core.config import STRICT
from deixis.core.errors import ConfigError, DataError
from deixis.core.frozen import freeze
from deixis.core.published import check_published, published_tensor
from deixis.core.records import read_json
from deixis.pieces import is_byte_pairs
from models.encoders import load_expert
from models.experts.clip_layout import read_clip
from models.experts.clip_vit import CLIPViT, CLIPViTConfig
from models.experts.contrastive_objective import CaptionMatcher
from models.text.clip_text import CLIPText, CLIPTextConfig

WORD_TABLE = "text_encoder.embedding.weight"  # fixed vectors, drawn from each word: the same for any vocabulary


@runtime_checkable
class ImageText(Protocol):
    """Pictures and phrases in one space, both of unit length."""

    def images(self, squares: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width"]: ...
    def texts(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch width"]: ...


class ExpertImageText(nn.Module):
    """A contrastive expert and what matched it with captions."""

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


@dataclass(frozen=True, config=STRICT)
class CLIPImageTextConfig:
    """Sizes; the defaults are ViT-B/32, on its own 224 pixels."""

    image: CLIPViTConfig = field(default_factory=lambda: CLIPViTConfig(input_size=224))
    text: CLIPTextConfig = field(default_factory=lambda: CLIPTextConfig(width=512))


class CLIPImageText(nn.Module):
    """Published CLIP with both towers: what TRIS asks whether a masked picture still says a phrase."""

    Config = CLIPImageTextConfig
    kind = "clip_image_text"  # in its folder's config.json

    def __init__(self, config: CLIPImageTextConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.side = config.image.input_size
        self.expert = CLIPViT(config.image)
        self.image_project = nn.Linear(config.image.width, config.text.width, bias=False)
        self.text_encoder = CLIPText(config.text, vocabulary)

    def images(self, squares: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width"]:
        """Embed pictures with levels from 0 to 255, resized as TRIS does; a gradient may pass to them."""
        resized = F.interpolate(squares, (self.side, self.side), mode="bilinear", align_corners=True)
        return F.normalize(self.image_project(self.expert.pooled(resized)), dim=-1)

    def texts(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch width"]:
        """Embed phrases, given in byte pairs."""
        return F.normalize(self.text_encoder(tokens).flat, dim=-1)

    @staticmethod
    def read_published(path: Path) -> tuple[CLIPImageTextConfig, dict[str, Tensor]]:
        """Sizes and state from a published CLIP, in transformers' or OpenAI's names."""
        default = CLIPImageTextConfig()
        image, image_state = CLIPViT.read_published(path, input_size=default.image.input_size)
        text, text_state = CLIPText.read_published(path)
        project = published_tensor(read_clip(path), "visual.proj", path=path)
        state = {f"expert.{name}": tensor for name, tensor in image_state.items()}
        state |= {"image_project.weight": project.T.contiguous()}
        state |= {f"text_encoder.{name}": tensor for name, tensor in text_state.items()}
        config = replace(default, image=image, text=text)
        return config, check_published(lambda: CLIPImageText(config, ()), state, path=path)


def load_image_text(name: str, weights: Path, vocabulary: Sequence[str], device: torch.device) -> ImageText:
    """A frozen image-text model reading phrases in `vocabulary`: CLIP, or a contrastive expert and its text tower."""
    card = weights / name / "config.json"
    if card.exists() and read_json(card, made_by=f"pretrain_expert@{name}").get("kind") == CLIPImageText.kind:
        return _load_clip(weights / name, vocabulary, device)
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
    return freeze(ExpertImageText(expert, matcher.to(device)))


def _load_clip(folder: Path, vocabulary: Sequence[str], device: torch.device) -> CLIPImageText:
    if not is_byte_pairs(vocabulary):
        raise ConfigError(
            f"{folder}: CLIP reads byte pairs, but this vocabulary is one of {len(vocabulary)} words. Allowed: a "
            "teacher whose own text tower is CLIP's. Name such a tower, or another judge, in params.yaml"
        )
    model_card = read_json(folder / "config.json", made_by="the import of CLIP")["model"]
    model = CLIPImageText(TypeAdapter(CLIPImageTextConfig).validate_python(model_card), vocabulary)
    load_checkpoint(model, folder, made_by="the import of CLIP")
    return freeze(model.to(device))
