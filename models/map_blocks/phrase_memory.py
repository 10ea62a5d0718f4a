"""Phrases of training that stay in sight when an image is asked: pixels attend to phrases, and to one in vain.

Source: in TRIS section 3.2 pixels attend to all phrases of a batch; the release asks each image for one at test time.
"""

import torch
from jaxtyping import Int
from torch import Tensor, nn


class PhraseMemory(nn.Module):
    """The phrases that training saw last.

    Args:
        size: How many.
        shape: Of what is kept of each: its tokens, or these and those of its cues.
    """

    tokens: Int[Tensor, "size *shape"]

    def __init__(self, size: int, *shape: int) -> None:
        super().__init__()
        self.register_buffer("tokens", torch.zeros(size, *shape, dtype=torch.long))

    @property
    def phrases(self) -> Int[Tensor, "seen *shape"]:
        """Those that were seen: all but at the beginning, or where training has fewer."""
        return self.tokens[self.tokens.flatten(1).any(1)]

    def remember(self, tokens: Int[Tensor, "phrases *shape"]) -> None:
        """Take in the phrases of a batch for the oldest ones."""
        self.tokens.copy_(torch.cat([tokens, self.tokens])[: len(self.tokens)])
