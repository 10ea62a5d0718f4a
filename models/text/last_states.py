"""The text encoder of RealGIN's released code: fixed word vectors, and the last state of an LSTM in each direction."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.language.text import PAD
from deixis.language.tokens import word_vectors


@dataclass(frozen=True, config=STRICT)
class LastStatesConfig:
    """Sizes; the defaults are the published ones."""

    length: int = 50  # tokens; longer phrases are cut
    word_width: int = 300
    width: int = 256  # of both directions together


class LastStatesEncoder(nn.Module):
    """Token ids to one vector per phrase. The word table is frozen.

    Against the reading order runs an LSTM of its own, over the words turned round. Pads then come last for both, and
    both are asked before: no packing is needed, which an exported graph could not hold.
    """

    def __init__(self, config: LastStatesConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = list(vocabulary)
        self.embedding = nn.Embedding.from_pretrained(word_vectors(vocabulary, config.word_width), freeze=True)
        self.lstm, self.reverse_lstm = (
            nn.LSTM(config.word_width, config.width // 2, batch_first=True) for _ in range(2)
        )

    def forward(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch width"]:
        """State of each direction after its last word; pads stand behind the words.

        What pads every phrase of the batch is cut off first. An exported graph has one length, and no cut.
        """
        if not torch.compiler.is_exporting():
            tokens = tokens[:, : max(1, int((tokens != PAD).sum(1).max()))]
        rows = torch.arange(tokens.shape[0], device=tokens.device)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        last = (tokens != PAD).sum(1).clamp(min=1) - 1
        turned = tokens.gather(1, (last[:, None] - places).clamp(min=0))
        forth, _ = self.lstm(self.embedding(tokens))
        back, _ = self.reverse_lstm(self.embedding(turned))
        return torch.cat([forth[rows, last], back[rows, last]], -1)
