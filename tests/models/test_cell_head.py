"""The one-stage head: known values of decoding, assignment and loss, and hard boxes."""

import math

import pytest
import torch

from models.student_blocks.cell_head import decode, detection_terms
from models.student_blocks.simota import assign, candidate_cells
from tests.factories import student_batch

STRIDE, SIDE = 32, 13
LN4 = math.log(4)
OBJECT = torch.tensor([[208.0, 208.0, 128.0, 128.0]])  # pixels of a 416 square


def cells_of(outputs: tuple[float, ...], *, batch: int = 1, side: int = SIDE) -> torch.Tensor:
    return torch.tensor(outputs).expand(batch, side * side, 5).clone()


def total(raw: torch.Tensor, objectness: float = 1.0) -> float:
    target = (OBJECT / 416).expand(len(raw), 4)
    terms = detection_terms(raw, target, stride=STRIDE)
    return float(5 * terms["box"] + objectness * terms["objectness"])


@pytest.mark.parametrize(
    ("shift", "expected"), [(10.0, 5 / 9), (200.0, 1.0)], ids=["S1 shifted by a fifth", "S2 disjoint"]
)
def test_box_term_is_one_minus_squared_iou(shift, expected):
    size = math.log(50 / STRIDE)
    raw = torch.tensor([[[100 / STRIDE, 100 / STRIDE, size, size, 0.0]]])  # one cell: a 32-pixel square
    target = torch.tensor([[100 + shift, 100, 50, 50]]) / STRIDE
    assert float(detection_terms(raw, target, stride=STRIDE)["box"]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("row", "column", "corners"),
    [(6, 6, (144, 144, 272, 272)), (0, 0, (-48, -48, 80, 80)), (2, 5, (112, 16, 240, 144))],
    ids=["S3 middle", "S8 corner, not clipped", "rows and columns kept apart"],
)
def test_decode(row, column, corners):
    box = decode(cells_of((0.5, 0.5, LN4, LN4, 0.0)), stride=STRIDE)[0, row * SIDE + column]
    left, top, right, bottom = corners
    expected = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top, 0.5]
    assert box.tolist() == pytest.approx(expected, abs=1e-4)


def test_s4_candidates_and_count():
    in_box, in_centre = candidate_cells(OBJECT, cells=SIDE**2, stride=STRIDE)
    boxes = decode(cells_of((0.0,) * 5), stride=STRIDE)[..., :4]
    assert [int((in_box | in_centre).sum()), int((in_box & in_centre).sum())] == [25, 9]
    assert int(assign(boxes, OBJECT, stride=STRIDE).sum()) == 1


def test_s6_positives():
    boxes = decode(cells_of((0.5, 0.5, LN4, LN4, 0.0)), stride=STRIDE)[..., :4]
    positive = assign(boxes, OBJECT, stride=STRIDE)[0].view(SIDE, SIDE).nonzero().tolist()
    assert sorted(map(tuple, positive)) == [(5, 6), (6, 5), (6, 6), (6, 7), (7, 6)]


@pytest.mark.parametrize(
    ("outputs", "batch", "objectness", "expected"),
    [
        ((0.0,) * 5, 1, 1.0, 122.122342),
        ((0.0,) * 5, 2, 1.0, 122.122342),
        ((0.5, 0.5, LN4, LN4, 0.0), 1, 1.0, 25.988375),
        ((0.0,) * 5, 1, 0.0, 4.980469),
    ],
    ids=["S5", "S5 two copies", "S7", "S9 box alone"],
)
def test_total_loss(outputs, batch, objectness, expected):
    assert total(cells_of(outputs, batch=batch), objectness) == pytest.approx(expected, abs=1e-4)


HARD_BOXES = {
    "left border": (0.1, 0.5, 0.2, 0.3),
    "bottom right corner": (0.95, 0.95, 0.1, 0.1),
    "whole square": (0.5, 0.5, 1.0, 1.0),
    "centre on the corner": (0.0, 0.0, 0.1, 0.1),
    "far corner": (1.0, 1.0, 1 / 416, 1 / 416),
    "one pixel": (0.5 + 0.5 / 416, 0.3, 1 / 416, 1 / 416),
    "one pixel on a cell border": (96 / 416, 96 / 416, 1 / 416, 1 / 416),
    "outside the square": (1.4, -0.3, 0.1, 0.1),
}


@pytest.mark.parametrize("box", HARD_BOXES.values(), ids=HARD_BOXES)
@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0], ids=["zero outputs", "usual outputs", "wild outputs"])
def test_hard_boxes_have_a_positive_and_a_finite_loss(box, spread):
    raw = (spread * torch.randn(3, SIDE**2, 5, generator=torch.Generator().manual_seed(1))).requires_grad_()
    target = torch.tensor([box]).repeat(3, 1)
    positive = assign(decode(raw, stride=STRIDE)[..., :4].detach(), 416 * target, stride=STRIDE)
    terms = detection_terms(raw, target, stride=STRIDE)
    sum(terms.values()).backward()
    assert positive.any(1).all()
    assert all(torch.isfinite(term) for term in terms.values()) and torch.isfinite(raw.grad).all()


def test_random_targets_have_one_to_ten_positives_among_their_candidates():
    generator = torch.Generator().manual_seed(3)
    boxes = decode(torch.randn(200, SIDE**2, 5, generator=generator), stride=STRIDE)[..., :4]
    targets = torch.rand(200, 4, generator=generator) * 416
    positive = assign(boxes, targets, stride=STRIDE)
    in_box, in_centre = candidate_cells(targets, cells=SIDE**2, stride=STRIDE)
    assert positive.sum(1).min() >= 1 and positive.sum(1).max() <= 10
    assert not (positive & ~(in_box | in_centre)).any()


def test_loss_does_not_depend_on_the_order_of_the_batch():
    raw = torch.randn(5, SIDE**2, 5, generator=torch.Generator().manual_seed(2))
    boxes = student_batch(5).boxes_norm
    terms = detection_terms(raw, boxes, stride=STRIDE)
    flipped = detection_terms(raw.flip(0), boxes.flip(0), stride=STRIDE)
    assert {k: float(v) for k, v in flipped.items()} == pytest.approx({k: float(v) for k, v in terms.items()})
