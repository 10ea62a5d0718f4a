"""Words of place in a teacher's answers, and what it learned about them from all phrases of its set.

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

from deixis.core.records import read_json, read_table, write_table
from deixis.labelling.location_scores import (
    MATCH_SHARE,
    choose_place_weight,
    look_scores,
    named_kinds,
    place_scores,
    pooled,
)
from deixis.labelling.matching import Matched, Matcher
from deixis.language.location_words import parse_place_words

Kinds = Mapping[str, Float[Tensor, " classes"]]


@dataclass(frozen=True)
class PlaceKnowledge:
    """What the phrases of a set taught.

    Attributes:
        weight: Of place beside look; None where no phrase of the set had a word of place.
        kinds: What phrases name beside their place: that text -> shares of the detector's categories.
    """

    weight: float | None = None
    kinds: Kinds = field(default_factory=dict)


@dataclass(frozen=True)
class Placed:
    """Scores [phrases, candidates] with words of place weighed in, how that was done, and what it taught."""

    scores: Tensor
    facts: dict[str, Any]
    kinds: dict[str, Tensor]


def with_place_words(
    matched: Matched, table: pd.DataFrame, matcher: Matcher, known: PlaceKnowledge | None = None
) -> Placed:
    """Match scores with place words weighed in where a phrase has some.

    What a phrase says beside its place, and the landmark that it names, are put to the teacher as phrases.

    Args:
        known: From another set. An answer then depends on nothing but its phrase and its image: what is not known is
            asked of the phrase alone. Without it the phrases of the table teach each other.
    """
    words = [parse_place_words(text) for text in table["text"]]
    rows = [row for row, found in enumerate(words) if not found.is_empty]
    facts: dict[str, Any] = {"phrases": len(rows)}
    if not rows:
        return Placed(matched.scores, facts, {})
    said, about = [words[row] for row in rows], table.iloc[rows]
    rest = [w.rest or text for w, text in zip(said, about["text"], strict=True)]
    own = matcher.weigh(about.assign(text=rest))
    classes = own.classes.float()
    named = named_kinds(own.scores, classes)
    named = pooled(named, rest) if known is None else _recalled(named, rest, known.kinds)
    looks = look_scores(own.scores, own.objectness, classes, named)
    landmark = own.scores
    if any(found.landmark for found in said):
        landmark = matcher.weigh(about.assign(text=[w.landmark or w.rest for w in said])).scores
    boxes = own.boxes_in_pictures()
    place = place_scores(said, boxes, own.scores, landmark)
    if known is None:
        is_train = (table["split"] == "train").to_numpy()[rows]
        is_train |= not is_train.any()  # a set without a training split: all of its phrases choose the weight
        train = torch.from_numpy(is_train)
        weight, separation = choose_place_weight(looks[train], place[train], boxes[train])
        facts |= {"weight": weight, "separation": {str(key): round(value, 6) for key, value in separation.items()}}
    elif known.weight is None:
        one = zip(looks.split(1), place.split(1), boxes.split(1), strict=True)
        weight = torch.tensor([choose_place_weight(*phrase)[0] for phrase in one])[:, None]
    else:
        weight = known.weight
    unit = own.scores.std(1, keepdim=True) / MATCH_SHARE  # back to the scale of the match scores
    scores = matched.scores.clone()
    scores[rows] = own.scores.amax(1, keepdim=True) + unit * (looks + weight * place)
    return Placed(scores, facts, dict(zip(rest, named, strict=True)))


def _recalled(own: Tensor, texts: list[str], kinds: Kinds) -> Tensor:
    """What is known about each text, and of the others what the phrase's own candidates say."""
    return torch.stack([kinds.get(text, found) for text, found in zip(texts, own, strict=True)])


def write_kinds(kinds: Kinds, path: Path) -> None:
    """Write the table of what phrases name, by text."""
    texts = sorted(kinds)
    write_table(pd.DataFrame({"text": texts, "kinds": [kinds[text].numpy() for text in texts]}), path)


def read_place_knowledge(folder: Path) -> PlaceKnowledge:
    """What labelling taught, from the folder that it wrote; nothing where the set had no words of place."""
    weight = read_json(folder / "labelling.json", made_by="write_pseudo_labels")["place_words"].get("weight")
    table = read_table(folder / "place_kinds.parquet", columns=("text", "kinds"), made_by="write_pseudo_labels")
    kinds = table["kinds"].map(lambda shares: torch.from_numpy(np.array(shares, dtype=np.float32)))
    return PlaceKnowledge(weight, dict(zip(table["text"], kinds, strict=True)))
