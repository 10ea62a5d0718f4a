"""The list of labels: put in order once, filtered at each request, so that no row is touched that is not shown."""

from functools import lru_cache
from typing import Literal

import numpy as np
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from reviewing.order import most_doubtful_first
from reviewing.page.labels import Labels

Order = Literal["doubt", "confidence", "margin", "disagreement", "reason", "file"]
NEEDS: dict[str, str] = {  # order -> column
    "doubt": "margin",
    "confidence": "confidence",
    "margin": "margin",
    "disagreement": "agreement",
}
LONGEST_SEARCH = 200  # characters
SEARCHES = 64  # that are remembered


class Query(BaseModel):
    """Which labels, and in which order; what is not named does not filter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order: Order | None = Field(None, description="Least sure first; by default doubt, else confidence, else by reason")
    split: str | None = None
    state: Literal["accepted", "refused"] | None = Field(None, description="What the teacher's rules said")
    reason: str | None = Field(None, description="Why the rules refused it")
    decided: Literal["decided", "undecided"] | None = None
    text: str = Field("", max_length=LONGEST_SEARCH, description="Words of the phrase, in any case of letters")


class Listing:
    """Orders and filters of labels."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._splits, self._reasons = (labels.texts(name).to_numpy(object) for name in ("split", "reason"))
        self._accepted = labels.accepted()
        self.splits, self.reasons = (_choices(texts) for texts in (self._splits, self._reasons))
        known = (order for order, column in NEEDS.items() if column in labels.columns)
        self.orders: tuple[str, ...] = (*known, "reason", "file")
        self._with_text = lru_cache(SEARCHES)(self._search)
        self._rank = lru_cache(len(self.orders))(self._ranked)

    def rows(self, query: Query, decided: np.ndarray) -> np.ndarray:
        """Rows of the labels that are asked for, in order.

        Args:
            decided: Whether each label has a decision: bool [labels].
        """
        order, _ = self._rank(self.order(query))
        kept = self._kept(query)
        if query.decided is not None:
            kept = kept & (decided if query.decided == "decided" else ~decided)
        return order[kept[order]]

    def progress(self, query: Query, decided: np.ndarray) -> tuple[int, int]:
        """How many labels are decided, and of how many, whether the query asks for decided ones or not."""
        kept = self._kept(query)
        return int((kept & decided).sum()), int(kept.sum())

    def neighbours(self, query: Query, decided: np.ndarray, row: int) -> tuple[int | None, int | None, int]:
        """The label before one and the one after it, and how many are before it; it need not be listed itself."""
        rows = self.rows(query, decided)
        _, rank = self._rank(self.order(query))
        place = int(np.searchsorted(rank[rows], rank[row]))
        after = place + (place < len(rows) and rows[place] == row)
        before = int(rows[place - 1]) if place else None
        return before, int(rows[after]) if after < len(rows) else None, place

    def order(self, query: Query) -> str:
        """The order asked for; the first that there is where none or an unknown one is."""
        return query.order if query.order in self.orders else self.orders[0]

    def _kept(self, query: Query) -> np.ndarray:
        kept = self._with_text(query.text.strip())
        if query.split is not None:
            kept = kept & (self._splits == query.split)
        if query.reason is not None:
            kept = kept & (self._reasons == query.reason)
        if query.state is not None:
            kept = kept & (self._accepted == (query.state == "accepted"))
        return kept

    def _search(self, text: str) -> np.ndarray:
        if not text:
            return np.ones(len(self._labels), bool)
        found = pc.match_substring(self._labels.phrases(), text, ignore_case=True)  # pyright: ignore
        return found.to_numpy(zero_copy_only=False).astype(bool)

    def _ranked(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows in order, and the place of each row in it. What has no number comes last."""
        if name == "doubt":
            order = most_doubtful_first(self._labels.images, self._labels.boxes(), self._labels.numbers("margin"))
        elif name in NEEDS:
            order = np.argsort(self._labels.numbers(NEEDS[name]), kind="stable")
        elif name == "reason":
            order = np.argsort(np.where(self._reasons == "", "\U0010ffff", self._reasons), kind="stable")
        else:
            order = np.arange(len(self._labels))
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return order, rank


def _choices(texts: np.ndarray) -> tuple[str, ...]:
    return tuple(sorted(set(texts) - {""}))
