"""Overlap and conversion of boxes, degenerate ones too."""

import math

import numpy as np
import pytest
import torch
from torchvision.ops import generalized_box_iou_loss

from deixis.boxes import cxcywh_to_xyxy, paired_giou, paired_iou, xyxy_to_cxcywh
from deixis.measuring.metrics import THRESHOLD, box_iou

SQUARE = (0.0, 0.0, 10.0, 10.0)
INF, NAN = math.inf, math.nan


def iou_by_torch(first, second):
    return paired_iou(torch.tensor([first]), torch.tensor([second])).item()


def iou_by_numpy(first, second):
    return box_iou(np.array([first]), np.array([second])).item()


both = pytest.mark.parametrize("iou", [iou_by_torch, iou_by_numpy], ids=["torch", "numpy"])


@both
@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param((5.0, 0.0, 15.0, 10.0), 1 / 3, id="shifted"),
        pytest.param((0.0, 0.0, 10.0, 5.0), 0.5, id="half"),
        pytest.param(SQUARE, 1.0, id="same"),
        pytest.param((10.0, 0.0, 20.0, 10.0), 0.0, id="touching"),
        pytest.param((20.0, 20.0, 30.0, 30.0), 0.0, id="apart-on-both-axes"),
        pytest.param((-5.0, -5.0, 15.0, 15.0), 0.25, id="not-clipped"),
    ],
)
def test_iou(iou, other, expected):
    assert iou(SQUARE, other) == pytest.approx(expected)
    assert iou(other, SQUARE) == pytest.approx(expected)


@both
def test_iou_of_exactly_one_half_is_a_miss(iou):
    assert not iou(SQUARE, (0.0, 0.0, 10.0, 5.0)) > THRESHOLD
    assert iou(SQUARE, (0.0, 0.0, 10.0, 5.01)) > THRESHOLD


@both
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param((3.0, 3.0, 3.0, 8.0), id="no-width"),
        pytest.param((8.0, 8.0, 2.0, 2.0), id="inside-out"),
        pytest.param((0.0, 0.0, 0.0, 0.0), id="zero"),
        pytest.param((NAN, 0.0, 5.0, 5.0), id="nan-corner"),
        pytest.param((NAN, NAN, NAN, NAN), id="nan"),
        pytest.param((0.0, 0.0, INF, INF), id="infinite"),
    ],
)
def test_bad_boxes_overlap_nothing(iou, bad):
    assert iou(bad, SQUARE) == 0.0
    assert iou(bad, bad) == 0.0


@both
def test_bad_truth_overlaps_nothing(iou):
    assert iou(SQUARE, (NAN, 0.0, 5.0, 5.0)) == 0.0
    assert iou(SQUARE, (5.0, 5.0, 5.0, 5.0)) == 0.0


def test_iou_pairs_rows_over_any_leading_axes():
    first = torch.tensor([SQUARE]).expand(2, 3, 4)
    assert paired_iou(first, first + 100).shape == (2, 3)
    assert paired_iou(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_gradient_of_an_empty_box_is_finite():
    box = torch.tensor([[3.0, 3.0, 3.0, 3.0]], requires_grad=True)
    paired_iou(box, torch.tensor([SQUARE])).sum().backward()
    assert torch.isfinite(box.grad).all()


def test_centre_and_size_to_corners():
    assert cxcywh_to_xyxy(torch.tensor([[100.0, 50.0, 20.0, 10.0]])).tolist() == [[90.0, 45.0, 110.0, 55.0]]
    assert xyxy_to_cxcywh(torch.tensor([[90.0, 45.0, 110.0, 55.0]])).tolist() == [[100.0, 50.0, 20.0, 10.0]]


def test_conversions_undo_each_other():
    boxes = 400 * torch.rand(3, 7, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes, atol=1e-3, rtol=0)
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes, atol=1e-3, rtol=0)


def test_giou_and_its_gradient_are_torchvisions():
    generator = torch.Generator().manual_seed(1)
    corner, size = torch.rand(2, 200, 2, generator=generator), torch.rand(2, 200, 2, generator=generator)
    first, second = torch.cat([corner, corner + size], -1)
    first[:3] = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.2, 0.2, 0.2, 0.9], [5.0, 5.0, 6.0, 6.0]])
    ours, theirs = first.clone().requires_grad_(), first.clone().requires_grad_()
    loss, expected = 1 - paired_giou(ours, second), generalized_box_iou_loss(theirs, second)
    torch.testing.assert_close(loss, expected)
    gradients = [torch.autograd.grad(value.sum(), box)[0] for value, box in ((loss, ours), (expected, theirs))]
    torch.testing.assert_close(*gradients)
