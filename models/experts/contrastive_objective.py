"""How image-text contrast teaches an encoder: each picture must find its caption in the batch, and back."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from deixis.losses import clip_loss
from deixis.text import build_vocabulary, normalise
from deixis.tokens import encode
from models.text.gru_attention import GRUAttentionEncoder, TextConfig

START_TEMPERATURE = 0.07
MAX_LOG_SCALE = 4.6  # as CLIP: the scale never exceeds 100
CAPTION_TEXT = TextConfig(length=32, word_width=64, width=96, heads=4, feedforward=192, layers=1, pool_hidden=48)


@runtime_checkable
class PooledEncoder(Protocol):
    """What the objective needs of an expert."""

    width: int

    def pooled(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width"]:
        """One vector per picture."""
        ...


class CaptionMatcher(nn.Module):
    """CLIP's loss with a small text tower; the tower is thrown away after pretraining."""

    def __init__(self, width: int, captions: list[list[str]]) -> None:
        super().__init__()
        texts = [[normalise(text) for text in group] for group in captions]
        self.text_encoder = GRUAttentionEncoder(
            CAPTION_TEXT, build_vocabulary(text for group in texts for text in group)
        )
        flat = encode([text for group in texts for text in group], self.text_encoder.vocabulary, CAPTION_TEXT.length)
        self.register_buffer("tokens", flat.view(len(texts), -1, CAPTION_TEXT.length), persistent=False)
        self.image_project = nn.Linear(width, CAPTION_TEXT.width)
        self.log_scale = nn.Parameter(torch.tensor(1 / START_TEMPERATURE).log())

    def loss(
        self, images: Float[Tensor, "batch width"], rows: Int[Tensor, " batch"], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """`contrast`: one caption per picture, drawn afresh at each visit."""
        pick = torch.randint(self.tokens.shape[1], (len(rows),), generator=generator).to(rows.device)
        text = self.text_encoder(self.tokens[rows, pick]).flat
        return {"contrast": clip_loss(self.image_project(images), text, self.log_scale.clamp(max=MAX_LOG_SCALE))}


class ContrastiveObjective(nn.Module):
    """An expert and the matcher that teaches it."""

    def __init__(self, expert: PooledEncoder, captions: list[list[str]]) -> None:
        super().__init__()
        self.expert = expert
        self.matcher = CaptionMatcher(expert.width, captions)

    def loss(
        self, squares: UInt8[Tensor, "batch 3 side side"], rows: Int[Tensor, " batch"], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """`contrast` of the pooled pictures."""
        return self.matcher.loss(self.expert.pooled(squares), rows, generator)
