"""MAttNet's reading of a phrase: what it says to each module, and how much each module has to say.

Unlike the other students' encoder it learns its word vectors, as published.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from deixis.core.config import STRICT
from deixis.language.text import PAD


@dataclass(frozen=True, config=STRICT)
class ModularTextConfig:
    """Sizes; the defaults are the published ones."""

    length: int = 10  # tokens; longer phrases are cut (20 for RefCOCOg)
    word_width: int = 512
    width: int = 512  # of words as the modules see them
    state_width: int = 512  # of each direction of the LSTM
    dropout: float = 0.5  # of word vectors


class ModularPhrases(NamedTuple):
    """One vector per module, and the modules' weights, which sum to 1."""

    vectors: Float[Tensor, "batch modules width"]
    weights: Float[Tensor, "batch modules"]


class ModularAttention(nn.Module):
    """Bidirectional LSTM; every module attends to the words on its own."""

    def __init__(self, config: ModularTextConfig, vocabulary: Sequence[str], *, modules: int) -> None:
        super().__init__()
        states = 2 * config.state_width
        self.embedding = nn.Embedding(len(vocabulary), config.word_width)
        self.project = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.word_width, config.width), nn.ReLU())
        self.lstm = nn.LSTM(config.width, config.state_width, batch_first=True, bidirectional=True)
        self.attend = nn.ModuleList(nn.Linear(states, 1) for _ in range(modules))
        self.weigh = nn.Linear(states, modules)

    def forward(self, tokens: Int[Tensor, "batch length"]) -> ModularPhrases:
        """Encode phrases; pads are neither run over nor attended to."""
        lengths = (tokens != PAD).sum(1).clamp(min=1)
        words = self.project(self.embedding(tokens))
        packed = pack_padded_sequence(words, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, (last, _) = self.lstm(packed)
        states, _ = pad_packed_sequence(outputs, batch_first=True, total_length=tokens.shape[1])
        is_pad = torch.arange(tokens.shape[1], device=tokens.device) >= lengths[:, None]
        logits = torch.cat([attend(states) for attend in self.attend], -1).masked_fill(is_pad[..., None], -torch.inf)
        vectors = torch.einsum("blm,blw->bmw", logits.softmax(1), words)
        return ModularPhrases(vectors, self.weigh(torch.cat([last[0], last[1]], -1)).softmax(-1))
