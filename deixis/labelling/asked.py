"""What a teacher says about the phrases of a table, before any rule: all that labelling asks of it.

It is saved where a table comes in pieces, since some rules need to know what was said about the phrases of all.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from deixis.core.checkpoints import load_state, save_state
from deixis.labelling.location_knowledge import Places, ask_about_places
from deixis.labelling.matching import Matched, Matcher
from deixis.labelling.rules import LabelParams

TENSORS = ("boxes", "scores", "classes", "objectness", "sizes_wh")


@dataclass(frozen=True)
class Asked:
    """Answers to a table's phrases.

    Attributes:
        known: Whether the teacher knows a word of each phrase that says more than a place.
    """

    matched: Matched
    places: Places | None
    known: list[bool]


def ask(matcher: Matcher, pairs: pd.DataFrame, rules: LabelParams) -> Asked:
    """Put every phrase to the teacher, whole and, where location words count, without them.

    Args:
        pairs: Columns image_id, text and split.
    """
    matched = matcher.weigh(pairs)
    places = None if rules.location_words == "off" else ask_about_places(pairs, matcher)
    return Asked(replace(matched, classes=matched.classes[..., :0]), places, matcher.knows(pairs["text"].tolist()))


def save_asked(asked: Asked, path: Path) -> None:
    """Write it whole."""
    places = asked.places
    tensors = {f"whole.{name}": tensor for name, tensor in _tensors(asked.matched).items()}
    facts: dict[str, Any] = {"experts": asked.matched.experts, "masks": asked.matched.masks, "known": asked.known}
    if places:
        tensors |= {f"rest.{name}": tensor for name, tensor in _tensors(places.weighed).items()}
        tensors |= {"place": places.place, "is_train": places.is_train}
        facts |= {"rows": places.rows, "rest": places.rest}
    save_state(tensors, facts, path)


def load_asked(path: Path) -> Asked:
    """Read what `save_asked` wrote; the phrases without location words come without experts and masks."""
    tensors, facts = load_state(path)
    places = None
    if "place" in tensors:
        weighed = _matched("rest", tensors, [], None)
        places = Places(facts["rows"], facts["rest"], weighed, tensors["place"], tensors["is_train"])
    return Asked(_matched("whole", tensors, facts["experts"], facts["masks"]), places, facts["known"])


def _tensors(matched: Matched) -> dict[str, Tensor]:
    return {name: getattr(matched, name) for name in TENSORS}


def _matched(prefix: str, tensors: dict[str, Tensor], experts: Any, masks: Any) -> Matched:
    return Matched(**{name: tensors[f"{prefix}.{name}"] for name in TENSORS}, experts=experts, masks=masks)
