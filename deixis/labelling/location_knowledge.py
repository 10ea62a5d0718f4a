"""Location words in a teacher's answers, and what it learned about them from all phrases of its set.

Two things show in many phrases together and not in one: how much place weighs beside look, and which category a phrase
names beside its place. Labelling a set finds both; phrases that come later are read with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from deixis.core.foreign import foreign_bytes
from deixis.core.records import read_json, read_table, write_table
from deixis.labelling.location_scores import (
    MATCH_SHARE,
    choose_location_weight,
    location_scores,
    look_scores,
    named_kinds,
)
from deixis.labelling.matching import Matched, Matcher
from deixis.labelling.named_kinds import KindSums
from deixis.language.location_words import LocationWords, parse_location_words

PHRASES_AT_ONCE = 512  # whose candidates are compared in pairs
Kinds = Mapping[str, Float[Tensor, " classes"]]


@dataclass(frozen=True)
class LocationKnowledge:
    """What the phrases of a set taught.

    Attributes:
        weight: Of place beside look; None where no phrase of the set had a word of place.
        kinds: What phrases name beside their place: that text -> shares of the detector's categories.
    """

    weight: float | None = None
    kinds: Kinds = field(default_factory=dict)


@dataclass(frozen=True)
class Places:
    """Phrases with location words, as a teacher sees them: [phrases, candidates].

    Attributes:
        rows: Of the table that they are from.
        rest: What each says beside its place, put to the teacher as a phrase.
        weighed: Of those.
        place: How well candidates fit the location words.
        is_train: Whether it is one of the training split.
    """

    rows: list[int]
    rest: list[str]
    weighed: Matched
    place: Tensor
    is_train: Tensor

    def looks(self, named: Tensor) -> Tensor:
        """How plausible each candidate is by its look.

        Args:
            named: Shares of the categories that each phrase names.
        """
        return look_scores(self.weighed.scores, self.weighed.objectness, self.weighed.classes.float(), named)

    def own_kinds(self) -> Tensor:
        """What each phrase names by its own candidates alone, [phrases, classes]."""
        return named_kinds(self.weighed.scores, self.weighed.classes.float())

    def who_choose(self) -> Tensor:
        """Whose answers choose the weight of place: training phrases; where there are none, all. Bool [phrases]."""
        return self.is_train | ~self.is_train.any()

    def scores(self, matched: Tensor, looks: Tensor, weight: float | Tensor) -> Tensor:
        """Match scores of the whole table with place weighed in where a phrase has a word of it."""
        unit = self.weighed.scores.std(1, keepdim=True) / MATCH_SHARE  # back to the scale of the match scores
        scores = matched.clone()
        scores[self.rows] = self.weighed.scores.amax(1, keepdim=True) + unit * (looks + weight * self.place)
        return scores

    def added(self, matched: Tensor, weight: float) -> Tensor:
        """The same for a teacher whose scores are log-plausibilities: place is added to them."""
        scores = matched.clone()
        scores[self.rows] = self.weighed.scores + weight * self.place
        return scores


def ask_about_places(table: pd.DataFrame, matcher: Matcher) -> Places | None:
    """Put to the teacher what phrases say beside their place, and the landmarks that they name.

    None where no phrase has a word of place.
    """
    words = [parse_location_words(text) for text in table["text"]]
    rows = [row for row, word in enumerate(words) if not word.is_empty]
    if not rows:
        return None
    words, about = [words[row] for row in rows], table.iloc[rows]
    rest = [word.rest or text for word, text in zip(words, about["text"], strict=True)]
    weighed = matcher.weigh(about.assign(text=rest))
    landmarks = _landmark_scores(words, about, weighed.scores, matcher)
    boxes = weighed.boxes_as_shares()
    parts = [slice(start, start + PHRASES_AT_ONCE) for start in range(0, len(rows), PHRASES_AT_ONCE)]
    place = [location_scores(words[part], boxes[part], weighed.scores[part], landmarks[part]) for part in parts]
    return Places(rows, rest, weighed, torch.cat(place), torch.tensor((about["split"] == "train").tolist()))


def _landmark_scores(words: list[LocationWords], about: pd.DataFrame, own: Tensor, matcher: Matcher) -> Tensor:
    """How well candidates match the landmarks; the phrases' own scores where no phrase has one."""
    if not any(word.landmark for word in words):
        return own
    return matcher.weigh(about.assign(text=[word.landmark or word.rest for word in words])).scores


def known_scores(places: Places, matched: Tensor, known: LocationKnowledge) -> Tensor:
    """Scores by what another set taught: they depend on nothing but each phrase and its image.

    What is not known is asked of the phrase alone.
    """
    looks = places.looks(_recalled(places.own_kinds(), places.rest, known.kinds))
    boxes = places.weighed.boxes_as_shares()
    weight = known.weight if known.weight is not None else _weight_of_each(looks, places.place, boxes)
    return places.scores(matched, looks, weight)


def _weight_of_each(looks: Tensor, place: Tensor, boxes: Tensor) -> Tensor:
    """The weight that each phrase alone chooses, [phrases, 1]."""
    one = zip(looks.split(1), place.split(1), boxes.split(1), strict=True)
    return torch.tensor([choose_location_weight(*phrase)[0] for phrase in one])[:, None]


def _recalled(guessed: Tensor, texts: list[str], kinds: Kinds) -> Tensor:
    """What is known about each text, and of the others what the phrase's own candidates say."""
    return torch.stack([kinds.get(text, guess) for text, guess in zip(texts, guessed, strict=True)])


def write_kinds(kinds: KindSums | None, path: Path) -> None:
    """Write the table of what phrases name, by text."""
    texts = sorted(kinds.texts) if kinds else []
    column = pd.Series(texts, dtype="string")  # of text even where there is none
    shares = list(kinds.means(texts).numpy()) if kinds else []
    write_table(pd.DataFrame({"text": column, "kinds": shares}), path)


def read_location_knowledge(folder: Path) -> LocationKnowledge:
    """What labelling taught, from the folder that it wrote; nothing where the set had no location words."""
    made_by = "write_pseudo_labels"
    facts = read_json(folder / "labelling.json", made_by=made_by)
    with foreign_bytes(folder / "labelling.json", "what labelling writes", f"Run: dvc repro -f {made_by}"):
        weight = facts["location_words"].get("weight")
        weight = None if weight is None else float(weight)
    table = read_table(folder / "location_kinds.parquet", columns=("text", "kinds"), made_by=made_by)
    with foreign_bytes(folder / "location_kinds.parquet", "what labelling writes", f"Run: dvc repro -f {made_by}"):
        kinds = table["kinds"].map(lambda shares: torch.from_numpy(np.array(shares, dtype=np.float32)))
        return LocationKnowledge(weight, dict(zip(table["text"], kinds, strict=True)))
