"""How image-text contrast teaches an encoder: each image must find its caption in the batch, and back."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Num, UInt8
from torch import Tensor, nn

from deixis.language.text import build_vocabulary, normalise
from deixis.language.tokens import encode
from deixis.training.losses import clip_loss
from models.text.gru_attention import GRUAttentionEncoder, TextConfig

START_TEMPERATURE = 0.07
MAX_LOG_SCALE = 4.6  # as CLIP: the scale never exceeds 100
CAPTION_TEXT = TextConfig(length=32, word_width=64, width=96, heads=4, feedforward=192, layers=1, pool_hidden=48)


@runtime_checkable
class PooledEncoder(Protocol):
    """What the objective needs of an expert."""

    width: int

    def pooled(self, squares: Num[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width"]:
        """One vector per image."""
        ...


class CaptionMatcher(nn.Module):
    """CLIP's two projections and its text tower, small: pooled images and texts in one space."""

    def __init__(self, width: int, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.text_encoder = GRUAttentionEncoder(CAPTION_TEXT, vocabulary)
        self.image_project = nn.Linear(width, CAPTION_TEXT.width)
        self.log_scale = nn.Parameter(torch.tensor(1 / START_TEMPERATURE).log())

    def loss(
        self, images: Float[Tensor, "batch width"], tokens: Int[Tensor, "batch length"]
    ) -> dict[str, Float[Tensor, ""]]:
        """`contrast` of pooled images with one caption each."""
        text = self.text_encoder(tokens).flat
        return {"contrast": clip_loss(self.image_project(images), text, self.log_scale.clamp(max=MAX_LOG_SCALE))}


class CaptionObjective(nn.Module):
    """The captions of the detection split, and the matcher that they teach."""

    def __init__(self, width: int, captions: list[list[str]]) -> None:
        super().__init__()
        texts = [[normalise(text) for text in group] for group in captions]
        self.vocabulary = build_vocabulary(text for group in texts for text in group)
        self.matcher = CaptionMatcher(width, self.vocabulary)
        flat = encode([text for group in texts for text in group], self.vocabulary, CAPTION_TEXT.length)
        self.register_buffer("tokens", flat.view(len(texts), -1, CAPTION_TEXT.length), persistent=False)

    def loss(
        self, images: Float[Tensor, "batch width"], rows: Int[Tensor, " batch"], generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """`contrast`: one caption per image, drawn afresh at each visit."""
        pick = torch.randint(self.tokens.shape[1], (len(rows),), generator=generator).to(rows.device)
        return self.matcher.loss(images, self.tokens[rows, pick])


class ContrastiveObjective(nn.Module):
    """An expert and the captions that teach it."""

    def __init__(self, expert: PooledEncoder, captions: list[list[str]]) -> None:
        super().__init__()
        self.expert = expert
        self.captions = CaptionObjective(expert.width, captions)

    def loss(
        self, squares: UInt8[Tensor, "batch 3 side side"], rows: Int[Tensor, " batch"], generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """`contrast` of the pooled images."""
        return self.captions.loss(self.expert.pooled(squares), rows, generator)
