"""Labels of pairs: of one table at once, or of a long one in parts that each are left whole in a scratch folder.

Location words show in many phrases together how much place weighs, and which category a phrase names. So a long table
is gone through three times: each part is put to the teacher; what all of them taught is weighed on each; each is
labelled. The teacher works in the first round alone. Several processes may share each round (deixis/core/pieces.py).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from deixis.core.pieces import end_of_share, is_mine
from deixis.core.records import read_json, write_json, write_table
from deixis.labelling.asked import Asked, ask, load_asked, save_asked
from deixis.labelling.location_knowledge import LocationKnowledge, known_scores
from deixis.labelling.location_scores import WEIGHTS, best_weight, choose_location_weight, separations
from deixis.labelling.matching import Matcher
from deixis.labelling.named_kinds import KindSums, add_sums, load_sums, sum_kinds
from deixis.labelling.rules import LabelParams, choose_labels, least_sure, refuse, without_unknown

MADE_BY = "write_pseudo_labels"


def label_pairs(
    matcher: Matcher, pairs: pd.DataFrame, rules: LabelParams, known: LocationKnowledge | None = None
) -> pd.DataFrame:
    """Let a teacher answer every pair, and choose its labels by the rules: one row per pair.

    Args:
        pairs: As `grouped_pairs` reads them; `group` is read only where different objects get different boxes.
        known: About location words, from another set; without it the pairs teach each other.
    """
    asked = ask(matcher, pairs, rules)
    labels = _chosen(asked, _scores(asked, matcher, known), pairs, rules, matcher)
    trained = np.flatnonzero(labels["split"] == "train")
    refused = trained[least_sure(labels["margin"].iloc[trained], rules.coverage)]
    return refuse(labels, np.isin(np.arange(len(labels)), refused))


def _scores(asked: Asked, matcher: Matcher, known: LocationKnowledge | None) -> Tensor:
    places, matched = asked.places, asked.matched.scores
    if places is None:
        return matched
    if matcher.location_weight is not None:
        return places.added(matched, matcher.location_weight)
    if known is not None:
        return known_scores(places, matched, known)
    looks = places.looks(sum_kinds(places.own_kinds(), places.rest).means(places.rest))
    train = places.who_choose()
    boxes = places.weighed.boxes_as_shares()
    weight, _ = choose_location_weight(looks[train], places.place[train], boxes[train])
    return places.scores(matched, looks, weight)


def _chosen(asked: Asked, scores: Tensor, pairs: pd.DataFrame, rules: LabelParams, matcher: Matcher) -> pd.DataFrame:
    labels = choose_labels(asked.matched, scores, pairs, rules, calibration=matcher.calibration)
    return without_unknown(labels, asked.known)


@dataclass(frozen=True)
class LabelledParts:
    """Labels of a table in files of some rows each, in order, and what its pairs taught about location words."""

    paths: list[Path]
    facts: dict[str, Any]
    kinds: KindSums | None


def label_in_parts(
    matcher: Matcher, parts: Callable[[], Iterator[pd.DataFrame]], rules: LabelParams, scratch: Path
) -> LabelledParts:
    """As `label_pairs`, for a table of any length; what a killed process had finished is found again.

    Args:
        parts: Reads the table from its beginning, the same parts every time, each with whole images.
        scratch: Folder of this very table and teacher (its name is the hash of all inputs).
    """
    work = _Work(matcher, parts, rules, scratch)
    count = work.ask()
    kinds = work.add_kinds(count)
    facts = work.weigh(count, kinds)
    work.label(count, kinds, facts.get("weight"))
    end_of_share()
    labels = [work.path(number, "labels.parquet") for number in range(count)]
    if rules.coverage < 1:
        refuse_least_sure(labels, rules.coverage)
    return LabelledParts(labels, {} if rules.location_words == "off" else facts, kinds)


class _Work:
    """The three rounds of `label_in_parts`; each ends the process where it can go on only after others."""

    def __init__(
        self, matcher: Matcher, parts: Callable[[], Iterator[pd.DataFrame]], rules: LabelParams, scratch: Path
    ) -> None:
        self._matcher, self._parts, self._rules, self._scratch = matcher, parts, rules, scratch
        self._learns = rules.location_words != "off" and matcher.location_weight is None

    def path(self, number: int, what: str) -> Path:
        return self._scratch / f"{number:06d}.{what}"

    def _is_to_do(self, number: int, what: str) -> bool:
        return is_mine(number) and not self.path(number, what).exists()

    def _wait_for_others(self, count: int, what: str) -> None:
        if not all(self.path(number, what).exists() for number in range(count)):
            end_of_share()

    def ask(self) -> int:
        """Put every part to the teacher; the number of parts."""
        number = -1
        for number, pairs in enumerate(self._parts()):
            if self._is_to_do(number, "asked"):
                asked = ask(self._matcher, pairs, self._rules)
                if self._learns and asked.places:
                    sum_kinds(asked.places.own_kinds(), asked.places.rest).save(self.path(number, "kinds"))
                save_asked(asked, self.path(number, "asked"))  # last: it says that the part was asked
        self._wait_for_others(number + 1, "asked")
        return number + 1

    def add_kinds(self, count: int) -> KindSums | None:
        """What phrases of all parts name."""
        paths = [self.path(number, "kinds") for number in range(count)]
        return add_sums(load_sums(path) for path in paths if path.exists())

    def weigh(self, count: int, kinds: KindSums | None) -> dict[str, Any]:
        """What is known about location words from all parts, as labelling.json says it."""
        for number in range(count):
            if self._is_to_do(number, "places.json"):
                write_json(_weighed(load_asked(self.path(number, "asked")), kinds), self.path(number, "places.json"))
        self._wait_for_others(count, "places.json")
        parts = [read_json(self.path(number, "places.json"), made_by=MADE_BY) for number in range(count)]
        facts: dict[str, Any] = {"phrases": sum(part["phrases"] for part in parts)}
        if not facts["phrases"] or self._rules.location_words == "off":
            return facts
        if not self._learns:
            return facts | {"weight": self._matcher.location_weight}
        return facts | _best(parts)

    def label(self, count: int, kinds: KindSums | None, weight: float | None) -> None:
        """Label every part by what all of them taught."""
        for number, pairs in enumerate(self._parts()):
            if self._is_to_do(number, "labels.parquet"):
                asked = load_asked(self.path(number, "asked"))
                labels = _chosen(asked, self._scores(asked, kinds, weight), pairs, self._rules, self._matcher)
                write_table(labels, self.path(number, "labels.parquet"))
        self._wait_for_others(count, "labels.parquet")

    def _scores(self, asked: Asked, kinds: KindSums | None, weight: float | None) -> Tensor:
        if asked.places is None or weight is None:
            return asked.matched.scores
        if kinds is None:
            return asked.places.added(asked.matched.scores, weight)
        return asked.places.scores(asked.matched.scores, asked.places.looks(kinds.means(asked.places.rest)), weight)


def _weighed(asked: Asked, kinds: KindSums | None) -> dict[str, Any]:
    """Of a part: phrases with location words, those of the training split, and over both, separations by weight."""
    places = asked.places
    if places is None:
        return {"phrases": 0}
    facts: dict[str, Any] = {"phrases": len(places.rows)}
    if kinds is None:
        return facts
    looks, boxes = places.looks(kinds.means(places.rest)), places.weighed.boxes_as_shares()
    for name, rows in (("all", places.is_train | True), ("train", places.is_train)):
        if rows.any():
            facts[name] = {"count": int(rows.sum()), "means": separations(looks[rows], places.place[rows], boxes[rows])}
    return facts


def _best(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The weight that the training phrases choose, and how well each weight parted a phrase from its opposite.

    Without training phrases, all phrases choose it.
    """
    name = "train" if any("train" in part for part in parts) else "all"
    said = [part[name] for part in parts if name in part]
    phrases = sum(part["count"] for part in said)
    separation = {
        weight: sum(part["means"][place] * part["count"] for part in said) / phrases
        for place, weight in enumerate(WEIGHTS)
    }
    rounded = {str(key): round(share, 6) for key, share in separation.items()}
    return {"weight": best_weight(separation), "separation": rounded}


def refuse_least_sure(paths: list[Path], coverage: float) -> None:
    """Refuse, in files of labels, the training labels with the smallest margins of all; done again, it changes nothing.

    One number per training label is held.
    """
    tables = [pd.read_parquet(path, columns=["split", "margin"]) for path in paths]
    trained = [np.flatnonzero(table["split"] == "train") for table in tables]
    margins = [table["margin"].iloc[rows] for table, rows in zip(tables, trained, strict=True)]
    refused = least_sure(pd.concat(margins, ignore_index=True), coverage)
    for path, table, rows in zip(paths, tables, trained, strict=True):
        here, refused = refused[: len(rows)], refused[len(rows) :]
        chosen = np.isin(np.arange(len(table)), rows[here])
        write_table(refuse(pd.read_parquet(path), chosen), path)


def count_reasons(paths: list[Path]) -> dict[str, int]:
    """How many labels were refused for each reason, most first."""
    counts: Counter[str] = Counter()
    for path in paths:
        counts.update(pd.read_parquet(path, columns=["reason"])["reason"])
    return {reason: count for reason, count in counts.most_common() if reason}
