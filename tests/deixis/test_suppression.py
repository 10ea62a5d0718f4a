"""Candidates of all scales: what suppression leaves, beside a greedy suppression written out one box at a time."""

import pytest
import torch

from deixis.anchors import Survivors, best_boxes, kept_anchors, surviving_cells
from deixis.types import Detections

RULE = Survivors(most=6, iou=0.5, looked_at=30)


def boxes_of(*rows) -> torch.Tensor:
    """One image, one box a cell: centre, size, confidence; two categories."""
    table = torch.tensor(rows).float()
    return torch.cat([table, torch.full((len(table), 2), 0.5)], 1)[None, :, None]


def crowd(images: int = 3, cells: int = 60, per_cell: int = 2, seed: int = 0) -> torch.Tensor:
    """Many boxes on few places."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(images, cells, per_cell, 7, generator=generator)
    boxes[..., :2] = (boxes[..., :2] * 4).floor() * 20 + 30 + 8 * torch.rand(*boxes.shape[:-1], 2, generator=generator)
    boxes[..., 2:4] = 10 + 20 * boxes[..., 2:4]
    return boxes


def overlap(one: list[float], other: list[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def one_by_one(boxes: torch.Tensor, rule: Survivors) -> list[int]:
    """Cells of one image [cells, per_cell, values]: survivors by falling confidence, then the others likewise."""
    best = {}
    for cell, rows in enumerate(boxes.tolist()):
        x, y, w, h, confidence, *_ = max(rows, key=lambda row: row[4])
        best[cell] = (confidence, [x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    ranked = sorted(best, key=lambda cell: -best[cell][0])[: rule.looked_at]
    kept: list[int] = []
    for cell in ranked:
        if all(overlap(best[cell][1], best[other][1]) <= rule.iou for other in kept):
            kept.append(cell)
    return [*kept, *(cell for cell in ranked if cell not in kept)][: rule.most]


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(RULE, id="few"),
        pytest.param(Survivors(most=40, iou=0.5, looked_at=60), id="more-than-survive"),
        pytest.param(Survivors(most=10, iou=0.1, looked_at=60), id="strict"),
        pytest.param(Survivors(most=10, iou=0.9, looked_at=60), id="lax"),
        pytest.param(Survivors(most=10, iou=0.3, looked_at=12), id="few-are-looked-at"),
    ],
)
def test_survivors_are_those_of_a_greedy_suppression(rule):
    boxes = crowd()
    assert surviving_cells(boxes, rule).tolist() == [one_by_one(image, rule) for image in boxes]


def test_each_image_is_suppressed_by_itself():
    boxes = crowd()
    alone = torch.cat([surviving_cells(image[None], RULE) for image in boxes])
    assert torch.equal(surviving_cells(boxes, RULE), alone)
    assert torch.equal(surviving_cells(boxes.flip(0), RULE), alone.flip(0))


def test_fewer_cells_than_candidates_all_stay():
    boxes = crowd(cells=4)
    assert surviving_cells(boxes, RULE).sort(1).values.tolist() == [[0, 1, 2, 3]] * 3


def test_where_too_few_survive_the_most_confident_of_the_others_follow():
    boxes = boxes_of(
        (50, 50, 20, 20, 0.2), (50, 50, 20, 20, 0.9), (51, 50, 20, 20, 0.3), (90, 90, 9, 9, 0.1), (50, 51, 20, 20, 0.8)
    )
    assert surviving_cells(boxes, Survivors(most=4)).tolist() == [[1, 3, 4, 2]]


def test_equally_confident_boxes_are_told_apart_by_their_place():
    boxes = crowd()
    boxes[..., 4] = 0.5
    cells = surviving_cells(boxes, RULE)
    for image, row in zip(boxes, cells.tolist(), strict=True):
        assert len(set(row)) == RULE.most
        corners = best_boxes(image[None]).corners[0].tolist()
        assert all(overlap(corners[a], corners[b]) <= 0.5 for a in row for b in row if a < b)
    assert torch.equal(surviving_cells(boxes, RULE), cells)
    same = boxes_of(*[(50, 50, 20, 20, 0.5)] * 9)
    assert len(set(surviving_cells(same, RULE)[0].tolist())) == RULE.most


def test_boxes_as_far_apart_as_the_limit_both_stay():
    side_by_side = (0, 0, 30, 10, 0.9), (10, 0, 30, 10, 0.8), (100, 0, 8, 8, 0.1)  # IoU 20 / 40
    assert surviving_cells(boxes_of(*side_by_side), Survivors(most=2, iou=0.5)).tolist() == [[0, 1]]
    assert surviving_cells(boxes_of(*side_by_side), Survivors(most=2, iou=0.49)).tolist() == [[0, 2]]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 0.0])
def test_boxes_that_are_none_suppress_nothing(wrong):
    boxes = boxes_of((50, 50, wrong, wrong, 0.9), (50, 50, 20, 20, 0.8), (51, 50, 20, 20, 0.7), (90, 9, 9, 9, 0.1))
    assert surviving_cells(boxes, Survivors(most=3)).tolist() == [[0, 1, 3]]


def test_confidence_that_is_no_number_still_gives_as_many_cells():
    boxes = crowd()
    boxes[0, :, :, 4] = torch.nan
    cells = surviving_cells(boxes, RULE)
    assert cells.shape == (3, 6) and all(len(set(row)) == 6 for row in cells.tolist())
    assert torch.equal(cells[1:], surviving_cells(boxes[1:], RULE))


def test_anchors_are_the_most_confident_cells_where_nothing_was_suppressed():
    boxes = crowd(cells=10)
    cells, kept = kept_anchors(Detections(maps=(), boxes=boxes), 0.3)
    surest = boxes[..., 4].mean(-1).argsort(1, descending=True)[:, :3].sort(1).values
    assert torch.equal(cells, surest)
    assert torch.equal(kept, torch.stack([image[row] for image, row in zip(boxes, surest, strict=True)]))


def test_anchors_are_what_suppression_left_whatever_the_fraction():
    boxes, numbers = crowd(cells=5), torch.tensor([[3500, 2, 7, 90, 11]] * 3)
    for fraction in (0.1, 1.0):
        cells, kept = kept_anchors(Detections(maps=(), boxes=boxes, cells=numbers), fraction)
        assert torch.equal(cells, numbers) and torch.equal(kept, boxes)
