"""Every headline number of two commits with its difference, the groups of phrases, and the phrases that flipped."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from commands.comparing.pairing import Paired, values
from commands.comparing.revisions import Revision
from commands.comparing.seeds import Seeds
from deixis.measuring.metrics import THRESHOLD
from deixis.measuring.paired import LEVEL, Difference, Verdict, false_discoveries, holm, judge, paired_difference

Training = Literal["the same weights", "two trainings", "seeds counted in"]


@dataclass(frozen=True)
class Headline:
    """One number of one predictor.

    Attributes:
        metric: As in the headline files: acc50, miou, acc50_testA.
        corrected: Its p-value after Holm's correction for all headlines that may be called.
    """

    dataset: str
    predictor: str
    metric: str
    training: Training
    difference: Difference
    corrected: float = 1.0

    @property
    def verdict(self) -> Verdict:
        """In words."""
        return judge(self.difference, self.corrected)


@dataclass(frozen=True)
class Group:
    """Acc@0.5 of the phrases of one difficulty; `corrected` is for all that changed (false discoveries)."""

    dataset: str
    predictor: str
    name: str
    difference: Difference
    corrected: float = 1.0

    @property
    def moved(self) -> bool:
        """Whether it is more than chance."""
        return self.difference.changed > 0 and self.corrected < LEVEL


@dataclass(frozen=True)
class Flip:
    """A phrase that only one side answers right; boxes are corners in stored pixels."""

    dataset: str
    predictor: str
    won: bool  # by head
    expression: str
    image_id: Any
    true_box: list[float]
    base_box: list[float]
    head_box: list[float]
    base_iou: float
    head_iou: float


def headlines(pairs: Sequence[Paired], base: Revision, head: Revision, seeds: Seeds) -> list[Headline]:
    """All headline numbers; those with a changed answer are corrected together, as the others can never be called."""
    rows = [row for paired in pairs for row in _headlines_of(paired, _same_weights(paired, base, head), seeds)]
    corrected = iter(holm([row.difference.p for row in rows if row.difference.changed]))
    return [replace(row, corrected=next(corrected)) if row.difference.changed else row for row in rows]


def _headlines_of(paired: Paired, same_weights: bool, seeds: Seeds) -> Iterator[Headline]:
    for position, split in enumerate(paired.splits):
        rows = paired.of(split)
        for name in ("acc50", "miou") if position == 0 else ("acc50",):
            base, head = values(rows, name, "base"), values(rows, name, "head")
            if base is None or head is None:
                continue
            metric = name if position == 0 else f"{name}_{split}"
            known = None if same_weights else seeds.get((paired.dataset, paired.predictor, metric))
            difference = paired_difference(base, head, rows["image_id"].to_numpy(), trainings=known)
            training: Training = "two trainings" if known is None else "seeds counted in"
            if difference is not None:
                kind: Training = "the same weights" if same_weights else training
                yield Headline(paired.dataset, paired.predictor, metric, kind, difference)


def _same_weights(paired: Paired, base: Revision, head: Revision) -> bool:
    """Whether both sides answered with one checkpoint, so that no training stands between them."""
    reports = [side.json(f"reports/metrics/{paired.dataset}/{paired.predictor}.json") for side in (base, head)]
    checksums = {report["meta"].get("checkpoint_sha256") if report else None for report in reports}
    return len(checksums) == 1 and None not in checksums


def groups(pairs: Sequence[Paired]) -> list[Group]:
    """Difficulty groups of each predictor's first split."""
    found = []
    for paired in pairs:
        for name, rows in paired.of(paired.splits[0]).groupby("group_base"):
            base, head = ((rows[f"iou_{side}"] > THRESHOLD).to_numpy(float) for side in ("base", "head"))
            difference = paired_difference(base, head, rows["image_id"].to_numpy())
            if difference is not None:
                found.append(Group(paired.dataset, paired.predictor, str(name), difference))
    corrected = iter(false_discoveries([group.difference.p for group in found if group.difference.changed]))
    return [replace(group, corrected=next(corrected)) if group.difference.changed else group for group in found]


def flips(pairs: Sequence[Paired]) -> list[Flip]:
    """Phrases of each predictor's first split that one side alone answers right, the widest apart first."""
    found = []
    for paired in pairs:
        rows = paired.of(paired.splits[0])
        hit = {side: rows[f"iou_{side}"] > THRESHOLD for side in ("base", "head")}
        flipped = rows[hit["base"] != hit["head"]]
        apart = (flipped["iou_head"] - flipped["iou_base"]).abs()
        order = pd.DataFrame({"apart": -apart, "sample": flipped["sample_id"]}).sort_values(["apart", "sample"]).index
        found += [_flip(paired, row) for row in flipped.loc[order].itertuples()]
    return found


def _flip(paired: Paired, row: Any) -> Flip:
    return Flip(
        paired.dataset,
        paired.predictor,
        won=row.iou_head > THRESHOLD,
        expression=row.expression,
        image_id=row.image_id,
        true_box=np.asarray(row.true_corners, float).tolist(),
        base_box=np.asarray(row.box_base, float).tolist(),
        head_box=np.asarray(row.box_head, float).tolist(),
        base_iou=row.iou_base,
        head_iou=row.iou_head,
    )
