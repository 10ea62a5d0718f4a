"""Location words in a teacher's answers, and what it learned about them from all phrases of its set.

Two things show in many phrases together and not in one: how much place weighs beside look, and which category a phrase
names beside its place. Labelling a set finds both; phrases that come later are read with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    pooled,
)
from deixis.labelling.matching import Matched, Matcher
from deixis.language.location_words import LocationWords, parse_location_words

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
class Placed:
    """Scores [phrases, candidates] with location words weighed in, how that was done, and what it taught."""

    scores: Tensor
    facts: dict[str, Any]
    kinds: dict[str, Tensor]


def with_location_words(
    matched: Matched, table: pd.DataFrame, matcher: Matcher, known: LocationKnowledge | None = None
) -> Placed:
    """Match scores with location words weighed in where a phrase has some.

    What a phrase says beside its place, and the landmark that it names, are put to the teacher as phrases.

    Args:
        known: From another set. An answer then depends on nothing but its phrase and its image: what is not known is
            asked of the phrase alone. Without it the phrases of the table teach each other.
    """
    words = [parse_location_words(text) for text in table["text"]]
    rows = [row for row, word in enumerate(words) if not word.is_empty]
    facts: dict[str, Any] = {"phrases": len(rows)}
    if not rows:
        return Placed(matched.scores, facts, {})
    placed, about = [words[row] for row in rows], table.iloc[rows]
    rest = [word.rest or text for word, text in zip(placed, about["text"], strict=True)]
    weighed = matcher.weigh(about.assign(text=rest))
    if matcher.location_weight is not None:
        return _placed_at_once(matched, weighed, placed, about, rows, matcher, weight=matcher.location_weight)
    classes = weighed.classes.float()
    named = named_kinds(weighed.scores, classes)
    named = pooled(named, rest) if known is None else _recalled(named, rest, known.kinds)
    looks, boxes = look_scores(weighed.scores, weighed.objectness, classes, named), weighed.boxes_as_shares()
    place = location_scores(placed, boxes, weighed.scores, _landmark_scores(placed, about, weighed.scores, matcher))
    if known is None:
        weight, learned = _learn_weight(looks, place, boxes, split=about["split"])
        facts |= learned
    else:
        weight = known.weight if known.weight is not None else _weight_of_each(looks, place, boxes)
    unit = weighed.scores.std(1, keepdim=True) / MATCH_SHARE  # back to the scale of the match scores
    scores = matched.scores.clone()
    scores[rows] = weighed.scores.amax(1, keepdim=True) + unit * (looks + weight * place)
    return Placed(scores, facts, dict(zip(rest, named, strict=True)))


def _placed_at_once(
    matched: Matched,
    weighed: Matched,
    words: list[LocationWords],
    about: pd.DataFrame,
    rows: list[int],
    matcher: Matcher,
    *,
    weight: float,
) -> Placed:
    """For a teacher whose scores are log-plausibilities: place is added to them, and the phrases teach nothing."""
    landmarks = _landmark_scores(words, about, weighed.scores, matcher)
    place = location_scores(words, weighed.boxes_as_shares(), weighed.scores, landmarks)
    scores = matched.scores.clone()
    scores[rows] = weighed.scores + weight * place
    return Placed(scores, {"phrases": len(rows), "weight": weight}, {})


def _landmark_scores(words: list[LocationWords], about: pd.DataFrame, own: Tensor, matcher: Matcher) -> Tensor:
    """How well candidates match the landmarks; the phrases' own scores where no phrase has one."""
    if not any(word.landmark for word in words):
        return own
    return matcher.weigh(about.assign(text=[word.landmark or word.rest for word in words])).scores


def _learn_weight(looks: Tensor, place: Tensor, boxes: Tensor, *, split: pd.Series) -> tuple[float, dict[str, Any]]:
    """The weight that the training phrases choose, and how well each weight parted a phrase from its opposite."""
    is_train = split.eq("train").to_numpy()
    is_train = is_train | (not is_train.any())  # a set without a training split: all of its phrases choose the weight
    train = torch.from_numpy(is_train)
    weight, separation = choose_location_weight(looks[train], place[train], boxes[train])
    return weight, {"weight": weight, "separation": {str(key): round(share, 6) for key, share in separation.items()}}


def _weight_of_each(looks: Tensor, place: Tensor, boxes: Tensor) -> Tensor:
    """The weight that each phrase alone chooses, [phrases, 1]."""
    one = zip(looks.split(1), place.split(1), boxes.split(1), strict=True)
    return torch.tensor([choose_location_weight(*phrase)[0] for phrase in one])[:, None]


def _recalled(guessed: Tensor, texts: list[str], kinds: Kinds) -> Tensor:
    """What is known about each text, and of the others what the phrase's own candidates say."""
    return torch.stack([kinds.get(text, guess) for text, guess in zip(texts, guessed, strict=True)])


def write_kinds(kinds: Kinds, path: Path) -> None:
    """Write the table of what phrases name, by text."""
    texts = sorted(kinds)
    column = pd.Series(texts, dtype="string")  # of text even where there is none
    write_table(pd.DataFrame({"text": column, "kinds": [kinds[text].numpy() for text in texts]}), path)


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
