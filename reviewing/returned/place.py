"""Boxes without a name, and the labels that they may be: told by where they lie."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deixis.measuring.metrics import box_iou
from reviewing.decisions import Box
from reviewing.returned.sent import SentLabel
from reviewing.same_box import same_box

NEAR = 0.5  # IoU from which a moved box may be a label's
LEAD = 0.05  # of IoU by which the best label must be ahead of the next


@dataclass
class Placed:
    """Which box is which label's.

    Attributes:
        label_of: Number of a box -> number of its label.
        unclear: Labels that several boxes may be, or whose box may be another's.
        strange: Boxes that lie near no label at all.
    """

    label_of: dict[int, int] = field(default_factory=dict)
    unclear: set[int] = field(default_factory=set)
    strange: set[int] = field(default_factory=set)


def by_place(labels: Sequence[SentLabel], boxes: Sequence[Box]) -> Placed:
    """Find the label of each box, first of those that stayed, then of those that became a runner-up, then by IoU.

    Labels with the same box are told apart by nothing: they are found if all their boxes stayed, and are unclear if
    some did.
    """
    placed = Placed()
    for group in _of_one_box(labels):
        here = [number for number in _loose(placed, boxes) if same_box(boxes[number], labels[group[0]].box)]
        if len(here) >= len(group):
            placed.label_of |= dict(zip(here, group, strict=False))
        elif here:
            placed.unclear |= set(group)
    _by_runner_up(labels, boxes, placed)
    _by_overlap(labels, boxes, placed)
    placed.strange = {number for number in _loose(placed, boxes) if not _is_near(boxes[number], labels)}
    return placed


def _of_one_box(labels: Sequence[SentLabel]) -> list[list[int]]:
    groups: list[list[int]] = []
    for number, label in enumerate(labels):
        group = next((group for group in groups if same_box(labels[group[0]].box, label.box)), None)
        if group is None:
            groups.append([number])
        else:
            group.append(number)
    return groups


def _loose(placed: Placed, boxes: Sequence[Box]) -> list[int]:
    return [number for number in range(len(boxes)) if number not in placed.label_of]


def _waiting(placed: Placed, labels: Sequence[SentLabel]) -> list[int]:
    taken = {*placed.label_of.values(), *placed.unclear}
    return [number for number in range(len(labels)) if number not in taken]


def _by_runner_up(labels: Sequence[SentLabel], boxes: Sequence[Box], placed: Placed) -> None:
    loose, waiting = _loose(placed, boxes), _waiting(placed, labels)
    pairs = [(box, label) for box in loose for label in waiting if same_box(boxes[box], labels[label].runner_up)]
    for box, label in pairs:
        if any(same_box(boxes[box], labels[other].box) for other in placed.unclear):  # it may have stayed there
            placed.unclear.add(label)
        elif sum(box in pair[:1] or label in pair[1:] for pair in pairs) == 1:
            placed.label_of[box] = label


def _by_overlap(labels: Sequence[SentLabel], boxes: Sequence[Box], placed: Placed) -> None:
    """Pairs that are each other's best, clearly; labels that are near to what is left over are unclear."""
    loose, waiting = _loose(placed, boxes), _waiting(placed, labels)
    if not loose or not waiting:
        return
    corners = np.array([boxes[number] for number in loose], float)
    overlap = np.stack([box_iou(corners, np.tile(_corners(labels[number]), (len(loose), 1))) for number in waiting], 1)
    for row, box in enumerate(loose):
        column = int(overlap[row].argmax())
        if overlap[row, column] >= NEAR and _leads(overlap[row], column) and _leads(overlap[:, column], row):
            placed.label_of[box] = waiting[column]
    left = [row for row, box in enumerate(loose) if box not in placed.label_of]
    near = {number for column, number in enumerate(waiting) if (overlap[left, column] >= NEAR).any()}
    placed.unclear |= near - set(placed.label_of.values())


def _is_near(box: Box, labels: Sequence[SentLabel]) -> bool:
    corners = np.array([_corners(label) for label in labels]).reshape(-1, 4)
    return bool((box_iou(corners, np.tile(np.array(box, float), (len(labels), 1))) >= NEAR).any())


def _corners(label: SentLabel) -> np.ndarray:
    return np.full(4, np.nan) if label.box is None else np.array(label.box)


def _leads(overlaps: np.ndarray, best: int) -> bool:
    others = np.delete(overlaps, best)
    return bool(overlaps[best] - others.max(initial=0.0) >= LEAD)
