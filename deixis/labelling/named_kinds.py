"""Which categories phrases name beside their place: the mean over all that read the same, found part by part."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from deixis.core.checkpoints import load_state, save_state


@dataclass(frozen=True)
class KindSums:
    """Of some phrases, by what they say beside their place.

    Attributes:
        texts: Each once.
        sums: Of the shares of the detector's categories in what each phrase names.
        counts: Of the phrases.
    """

    texts: list[str]
    sums: Float[Tensor, "texts classes"]
    counts: Int[Tensor, " texts"]

    def means(self, texts: Sequence[str]) -> Float[Tensor, "phrases classes"]:
        """Of phrases that read so."""
        of = torch.tensor([self._number[text] for text in texts], dtype=torch.long)
        return self.sums[of] / self.counts[of, None]

    @cached_property
    def _number(self) -> dict[str, int]:
        return {text: place for place, text in enumerate(self.texts)}

    def save(self, path: Path) -> None:
        """Write it whole."""
        save_state({"sums": self.sums, "counts": self.counts}, self.texts, path)


def load_sums(path: Path) -> KindSums:
    """Read what `KindSums.save` wrote."""
    tensors, texts = load_state(path)
    return KindSums(texts, **tensors)


def sum_kinds(named: Float[Tensor, "phrases classes"], texts: Sequence[str]) -> KindSums:
    """Sums over phrases that read the same."""
    number = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    of = torch.tensor([number[text] for text in texts], dtype=torch.long)
    sums = named.new_zeros(len(number), named.shape[1]).index_add_(0, of, named)
    return KindSums(list(number), sums, of.bincount(minlength=len(number)))


def add_sums(parts: Iterable[KindSums]) -> KindSums | None:
    """Sums over the phrases of all parts; None of no parts."""
    number: dict[str, int] = {}
    whole: Any = None  # sums and counts, with room for more texts
    for part in parts:
        of = torch.tensor([number.setdefault(text, len(number)) for text in part.texts], dtype=torch.long)
        if whole is None:
            whole = part.sums.new_zeros(len(number), part.sums.shape[1]), part.counts.new_zeros(len(number))
        if len(number) > len(whole[0]):
            whole = tuple(torch.cat([held, held.new_zeros(len(number), *held.shape[1:])]) for held in whole)
        whole[0].index_add_(0, of, part.sums)
        whole[1].index_add_(0, of, part.counts)
    return None if whole is None else KindSums(list(number), *(held[: len(number)] for held in whole))
