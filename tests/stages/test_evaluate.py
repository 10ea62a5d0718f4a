"""Points and boxes against truth, as the response-map papers count them."""

import numpy as np
import pandas as pd
import pytest

from stages.evaluate import best_iou, describe, middle, point_hits


@pytest.mark.parametrize(
    "box", [np.array([1, 0, 3, 3]), np.array([0, 0, 2, 3])], ids=["inside", "on the right side, which belongs"]
)
def test_12_a_peak_may_lie_in_the_box_and_not_in_the_mask(box):
    mask = np.ones((4, 4), bool)
    mask[1, 2] = False
    assert point_hits((2, 1), mask=mask, box=box) == (False, True)


def test_a_point_outside_the_picture_hits_nothing():
    mask = np.ones((4, 4), bool)
    assert point_hits((-1, -1), mask=mask, box=np.array([0, 0, 4, 4])) == (False, False)
    assert middle(np.array([np.nan] * 4)) == (-1, -1)
    assert middle(np.array([1.0, 2.0, 4.9, 4.0])) == (2, 3)


def test_18_any_of_several_boxes_must_overlap_more_than_half():
    true_box = np.array([0.0, 0, 10, 10])
    assert best_iou([50, 50, 60, 60, 0, 0, 10, 5], true_box) == 0.5  # which is no hit
    assert best_iou([], true_box) == 0


@pytest.mark.parametrize("source", ["detections", "annotations", None])
def test_a_ranking_student_is_never_scored_without_naming_its_candidates(tmp_path, source):
    card = {"num_parameters": 1, "sha256": "0", "training": {"last_ema_decay": 0.5}}
    pd.DataFrame({"split": ["val"]}).to_parquet(tmp_path / "predictions.parquet")
    meta = describe(card | ({"candidates": source} if source else {}), tmp_path / "predictions.parquet", 0)
    assert meta.get("candidates") == source


def test_what_a_card_has_counted_stands_beside_the_numbers(tmp_path):
    counted = {"labels_dropped": 3, "labels_without_mask": 5, "masks_refused": 0, "cue_fallbacks": 7}
    card = {"num_parameters": 1, "sha256": "0", "training": {"last_ema_decay": 0.5}, "student": "mcn"}
    pd.DataFrame({"split": ["val"]}).to_parquet(tmp_path / "predictions.parquet")
    meta = describe(card | counted, tmp_path / "predictions.parquet", 0)
    assert {name: meta[name] for name in counted} == counted
    assert not meta.keys() & {"candidates", "student"}
