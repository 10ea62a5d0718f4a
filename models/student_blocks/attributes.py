"""Attributes that phrases name: the most frequent words of a training set, weighed by how rare each is."""

from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

# Words that are no attributes; nouns may be some, for want of a tagger.
CLOSED_CLASS = frozenset(
    "a an and are at be behind by for from has he her his in is it its of on one or she that the their there they this "
    "to which who whose with".split()
)


def frequent_words(texts: Sequence[str], most: int) -> list[tuple[str, int]]:
    """The most frequent words that may be attributes, with their counts; of equally frequent ones the first by name."""
    counts = Counter(word for text in texts for word in text.split() if word not in CLOSED_CLASS)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


def attribute_weights(counts: Sequence[int]) -> Float[Tensor, " attributes"]:
    """From 1 for the most frequent attribute to 10 for the rarest, along 1 / sqrt(count)."""
    rarity = torch.tensor(counts, dtype=torch.float32).rsqrt()
    if not len(rarity):
        return rarity
    span = rarity.max() - rarity.min()
    return 1 + 9 * (rarity - rarity.min()) / (span if span > 0 else 1.0)
