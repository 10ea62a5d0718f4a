"""Meanings of short texts, from a text encoder whose published task is to compare sentences (MiniLM and its like).

Source: sentence-transformers' all-MiniLM-L6-v2: the mean of the last states of all tokens, of length one.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.frozen import freeze
from deixis.language.text import PAD
from deixis.language.tokens import encode
from models.text.bert import BERT, BERTConfig

REMEMBERED = 4096  # texts


class SentenceEncoder(nn.Module):
    """A frozen BERT, averaged; texts that were asked about are remembered."""

    def __init__(self, config: BERTConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = list(vocabulary)
        self.bert = freeze(BERT(config, vocabulary))
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
        """Vectors of length one; their products are cosines."""
        device = self.bert.pooler["dense"].weight.device
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            tokens = encode(new, self.vocabulary, self.config.length).to(device)
            tokens = tokens[:, : int((tokens != PAD).sum(1).max().clamp(min=1))]
            valid = tokens != PAD
            states = self.bert(tokens, valid) * valid[..., None]
            means = F.normalize(states.sum(1) / valid.sum(1, keepdim=True).clamp(min=1), dim=-1)
            if len(self._known) + len(new) > REMEMBERED:
                self._known = {text: vector for text, vector in self._known.items() if text in texts}
            self._known |= dict(zip(new, means, strict=True))
        return torch.stack([self._known[text].to(device) for text in texts])

    def forget(self) -> None:
        """After weights were loaded."""
        self._known = {}
