"""What is read from a response map, on maps whose mask, boxes and peak are known."""

import numpy as np
import pytest
import torch

from deixis.labelling.response_maps import box_holding, component_boxes, mask_of, most_responsive, peak_of, upsample


def canvas(*rectangles: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((100, 100), bool)
    for left, top, right, bottom in rectangles:
        mask[top:bottom, left:right] = True
    return mask


RECTANGLE = (10, 20, 50, 40)


def test_13_a_zero_map_has_no_mask_and_its_peak_comes_first():
    scores = np.zeros((4, 5))
    assert not mask_of(scores).any()
    assert peak_of(scores) == (0, 0)
    assert box_holding(mask_of(scores), peak_of(scores)) is None and component_boxes(mask_of(scores)) == []


def test_14_an_all_negative_map_has_no_mask_and_keeps_its_peak():
    scores = np.array([[-1.0, -3.0], [-2.0, -5.0]])
    assert not mask_of(scores).any()
    assert peak_of(scores) == (0, 0)


def test_peak_is_x_then_y_and_the_first_of_equals():
    scores = np.zeros((4, 5))
    scores[1, 2] = scores[3, 0] = 1
    assert peak_of(scores) == (2, 1)


def test_15_each_part_is_a_box():
    assert component_boxes(canvas(RECTANGLE)) == [RECTANGLE]
    assert sorted(component_boxes(canvas(RECTANGLE, (60, 60, 90, 80)))) == [RECTANGLE, (60, 60, 90, 80)]


def test_16_a_thin_part_is_dropped_and_a_hole_is_none():
    line = canvas(RECTANGLE)
    line[60 + np.arange(30), 60 + np.arange(30)] = True
    assert component_boxes(line) == [RECTANGLE]
    ring = canvas((10, 10, 90, 90)) & ~canvas((40, 40, 60, 60))
    assert component_boxes(ring) == [(10, 10, 90, 90)]


def test_17_a_full_mask_is_the_whole_image():
    assert component_boxes(np.ones((100, 100), bool)) == [(0, 0, 100, 100)]
    assert box_holding(np.ones((30, 40), bool), (0, 0)) == (0, 0, 40, 30)


def test_the_box_is_that_of_the_part_with_the_peak_and_of_the_largest_where_it_lies_outside():
    scores = canvas(RECTANGLE).astype(float)
    scores[60:80, 60:90] = 0.5
    assert box_holding(mask_of(scores), peak_of(scores)) == RECTANGLE
    scores[70, 70] = 2.0
    assert box_holding(mask_of(scores), peak_of(scores)) == (60, 60, 90, 80)
    assert box_holding(mask_of(scores), (99, 99)) == RECTANGLE


@pytest.mark.parametrize(("rest", "pixels", "extent"), [(0.0, 64 * 64, 64), (-1.0, 628, 32)])
def test_19_granularity_of_a_ten_by_ten_map(rest, pixels, extent):
    coarse = torch.full((1, 10, 10), rest)
    coarse[0, 4, 5] = 1
    mask = mask_of(upsample(coarse, height=320, width=320, align_corners=False)[0].numpy())
    assert mask.sum() == pixels
    assert mask.any(0).sum() == mask.any(1).sum() == extent


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ([(0, 0, 60, 60), RECTANGLE, (60, 60, 90, 80)], 1),
        ([(60, 60, 90, 80), (0, 60, 20, 80)], 0),
        ([(70, 0, 80, 10), (60, 60, 90, 80)], 1),
        ([(70, 0, 80, 10), (60, 0, 90, 10)], 0),
    ],
    ids=["smallest that hold the peak", "none holds it", "the largest, where it responds more", "all below zero"],
)
def test_a_proposal_is_picked_by_the_highest_response_inside(masks, expected):
    scores = np.full((100, 100), -1.0)
    scores[25:30, 20:30], scores[65:75, 70:80] = 2.0, 1.0
    maps = [canvas(mask) for mask in masks]
    assert most_responsive(scores, maps) is maps[expected]
    assert most_responsive(scores, []) is None
