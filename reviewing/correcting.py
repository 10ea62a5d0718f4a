"""A table of labels after what people have decided about them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from deixis.labelling.human_decisions import COLUMN, REFUSED
from deixis.measuring.metrics import box_iou
from reviewing.decisions import Box, Decision, sound_box
from reviewing.same_box import same_box

STILL_MEANT = 0.5  # IoU with the rejected box from which a label is still the one that was rejected


@dataclass(frozen=True)
class Corrected:
    """Labels with decisions applied.

    Attributes:
        moved: Rows whose box is another now, so that their masks are to be drawn anew; bool [labels].
        applied: How many decisions the labels hold.
        left: Why others are not applied -> how many.
    """

    table: pd.DataFrame
    moved: np.ndarray
    applied: int
    left: Counter[str]


def apply_decisions(table: pd.DataFrame, decisions: Iterable[Decision]) -> Corrected:
    """Accept and refuse training labels, and put boxes right, as people said.

    Labels of other splits stay as the teacher made them: metrics would otherwise measure people. A box that people
    found right is right even if the teacher has been trained again since; a rejection is of one box alone.

    Args:
        table: Labels with sample_id, image_id, expression, split, box, accept and reason.
    """
    rows = {str(sample_id): row for row, sample_id in enumerate(table["sample_id"])}
    columns: dict[str, list[Any]] = {name: table[name].tolist() for name in ("box", "accept", "reason")}
    columns[COLUMN] = [""] * len(table)
    moved, left = np.zeros(len(table), bool), Counter[str]()
    about = list(zip(table["image_id"], table["expression"], table["split"], strict=True))
    for decision in decisions:
        row = rows.get(decision.sample_id)
        if row is None or about[row][:2] != (decision.image_id, decision.expression):
            left["of phrases that these labels do not have"] += 1
        elif about[row][2] != "train":
            left["of evaluation splits"] += 1
        elif decision.box is None and _is_another(columns["box"][row], decision.label_box):
            left["rejections of a box that the teacher no longer gives"] += 1
        else:
            moved[row] = _apply(decision, row, columns)
    applied = len(table) - columns[COLUMN].count("")
    boxes = pd.Series(columns.pop("box"), index=table.index, dtype=object)
    return Corrected(table.assign(box=boxes, **columns), moved, applied, left)


def _apply(decision: Decision, row: int, columns: dict[str, list[Any]]) -> bool:
    """Whether the label's box is another one now."""
    is_rejected = decision.box is None
    columns["accept"][row], columns["reason"][row] = not is_rejected, REFUSED if is_rejected else ""
    columns[COLUMN][row] = decision.verdict
    if is_rejected or same_box(sound_box(columns["box"][row]), decision.box):
        return False
    columns["box"][row] = list(decision.box or ())
    return True


def _is_another(box: Any, rejected: Box | None) -> bool:
    now = sound_box(box)
    if now is None or rejected is None:
        return now is not rejected
    return bool(box_iou(np.array([now]), np.array([rejected]))[0] < STILL_MEANT)
