"""The rules that make labels of a teacher's scores: which candidate, and whether it is good enough to learn from."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.boxes import paired_iou
from deixis.core.config import STRICT
from deixis.labelling.distinct_objects import choose_distinct
from deixis.labelling.location_scores import SAME_OBJECT
from deixis.labelling.matching import Matched


@dataclass(frozen=True, config=STRICT)
class LabelParams:
    """What decides beside the match, and when a label is good enough to learn from; never by looking at truth."""

    # score: location words weigh in; filter: labels that they contradict are refused; off: they are words like others
    location_words: Literal["score", "filter", "off"] = "score"
    # distinct: phrases about different objects of an image get different ones; which phrases are about one object is
    # then supervision beyond pairs, and the labels say so. Needs a ref_id for every phrase
    same_image: Literal["free", "distinct"] = "free"
    coverage: float = 1.0  # of the training labels, those with the largest margins
    min_margin: float | None = None  # of the label's score over the second-best; none: whatever it is
    min_side: float = 0.0  # pixels of the stored image
    masks: Literal["segmenter", "none"] = "segmenter"  # none: boxes alone, where no segmenter knows the images
    batch_size: int = 128


def without_unknown(labels: pd.DataFrame, known: Sequence[bool]) -> pd.DataFrame:
    """Labels as they are, but none is accepted whose phrase has no word that the teacher knows."""
    unknown = ~np.asarray(known, dtype=bool)
    labels.loc[unknown, "reason"] = "words"
    if "confidence" in labels:
        labels.loc[unknown, "confidence"] = 0.0
    return labels.assign(accept=labels["reason"] == "")


def choose_labels(
    matched: Matched,
    scores: Tensor,
    table: pd.DataFrame,
    rules: LabelParams,
    *,
    calibration: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """One label per pair: the best candidate that the rules leave to it. What `coverage` refuses is not yet refused."""
    row = torch.arange(len(table))
    by_match = matched.scores.argmax(1)
    contradicted = paired_iou(matched.boxes[row, by_match], matched.boxes[row, scores.argmax(1)]) < SAME_OBJECT
    decisive = matched.scores if rules.location_words == "filter" else scores
    best = decisive.argmax(1)
    if rules.same_image == "distinct":
        best = choose_distinct(decisive, matched.boxes, table["image_id"].tolist(), table["group"].tolist())
    others = decisive.scatter(1, best[:, None], -torch.inf)
    runner_up = others.argmax(1)
    labelled = table[["sample_id", "image_id", "expression", "split"]].assign(
        box=matched.boxes[row, best].tolist(),
        runner_up=matched.boxes[row, runner_up].tolist(),
        match_box=matched.boxes[row, by_match].tolist(),
        score=decisive[row, best].numpy(),
        # below 0 where another object of the image needed what is best
        margin=(decisive[row, best] - others[row, runner_up]).numpy(),
        objectness=matched.objectness[row, best].numpy(),
        experts=matched.experts,
    )
    corners = matched.boxes[row, best]
    if calibration is not None:
        labelled["confidence"] = chances(decisive, matched.boxes, corners, calibration).numpy()
    thin = (corners[:, 2:] - corners[:, :2]).amin(1) < rules.min_side
    if matched.masks is not None:  # the teacher drew what matches best; where another object was chosen, nothing
        moved = paired_iou(matched.boxes[row, by_match], corners) < SAME_OBJECT
        teacher_masks = pd.Series(matched.masks, index=labelled.index, dtype=object)
        labelled["own_mask"] = teacher_masks.where(~moved.numpy(), None)
    if rules.same_image == "distinct":
        labelled["supervision"] = "image-phrase pairs, grouped by object"
    labelled["reason"] = ""
    labelled.loc[thin.numpy(), "reason"] = "size"
    centre = (corners[:, :2] + corners[:, 2:]) / 2
    outside = ~((centre >= 0) & (centre <= matched.sizes_wh)).all(1)  # not a number is outside, too
    labelled.loc[outside.numpy(), "reason"] = "outside"
    if rules.min_margin is not None:
        labelled.loc[labelled["margin"] < rules.min_margin, "reason"] = "margin"
    if rules.location_words == "filter":
        labelled.loc[contradicted.numpy(), "reason"] = "place"
    return labelled.assign(accept=labelled["reason"] == "")


def least_sure(margins: pd.Series, coverage: float) -> np.ndarray:
    """Which labels are refused where only a share of them is wanted: those with the smallest margins; bool [labels]."""
    return (margins.rank(pct=True, method="first") <= 1 - coverage).to_numpy()


def refuse(labels: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Labels as they are, but rows of them are refused for the rest's greater margins.

    Args:
        rows: Bool [labels].
    """
    stronger = labels["reason"].isin(["place", "words"])  # whatever the margin is
    labels.loc[rows & ~stronger.to_numpy(), "reason"] = "coverage"
    return labels.assign(accept=labels["reason"] == "")


def chances(
    scores: Float[Tensor, "phrases candidates"],
    boxes_xyxy: Float[Tensor, "phrases candidates 4"],
    chosen_xyxy: Float[Tensor, "phrases 4"],
    calibration: tuple[float, float],
) -> Float[Tensor, " phrases"]:
    """Probability that the chosen thing is the right one.

    Args:
        scores: Log-plausibilities; candidates that cover one thing count together.
        calibration: Slope and offset from its log-odds to those of being right.
    """
    same = paired_iou(boxes_xyxy, chosen_xyxy[:, None].expand_as(boxes_xyxy)) > SAME_OBJECT
    share = (scores.softmax(1) * same).sum(1).clamp(1e-6, 1 - 1e-6)
    slope, offset = calibration
    return (slope * share.logit() + offset).sigmoid()
