"""Points and boxes against truth, as the response-map papers count them, and the stage on three phrases."""

import json

import numpy as np
import pandas as pd
import pytest

from deixis.imaging.masks import encode_mask
from stages.evaluate import best_iou, describe, evaluate, middle, point_hits

LEFT, RIGHT = [0.0, 0.0, 4.0, 6.0], [5.0, 1.0, 8.0, 6.0]
CARD = {"num_parameters": 1, "sha256": "0", "training": {"last_ema_decay": 0.5}}


def rectangle(box) -> dict:
    pixels = np.zeros((6, 8), bool)
    left, top, right, bottom = map(int, box)
    pixels[top:bottom, left:right] = True
    return encode_mask(pixels)


def predictions(**columns) -> pd.DataFrame:
    """Answers to three phrases, all of which mean what is on the left."""
    answers = {"sample_id": ["a", "b", "c"], "split": "val", "box": [LEFT] * 3, "mask": [None] * 3, "score": 1.0}
    return pd.DataFrame(answers | {"margin": [0.3, 0.2, 0.1]} | columns)


def map_predictions(**columns) -> pd.DataFrame:
    """Those of a teacher of response maps."""
    mask = [rectangle(LEFT)] * 3
    kinds = {"mask": mask, "prompted_mask": mask, "map_mask": mask, "proposal_mask": mask}
    boxes = {"map_box": [LEFT] * 3, "boxes": [RIGHT + LEFT] * 3, "point": [[1, 2]] * 3}
    return predictions(**kinds | boxes | columns)


def scored(folder, answers: pd.DataFrame) -> dict:
    """Metrics of the stage on the pictures of those phrases."""
    (folder / "toy").mkdir(parents=True)
    names = {"sample_id": ["a", "b", "c"], "image_id": [1, 1, 2]}
    pairs = pd.DataFrame(names | {"expression": "Star", "text": "star", "split": "val"})
    pairs.to_parquet(folder / "toy/pairs.parquet")
    truth = pd.DataFrame({"sample_id": ["a", "b", "c"], "box": [LEFT] * 3, "mask": [rectangle(LEFT)] * 3})
    truth.to_parquet(folder / "truth.parquet")
    pd.DataFrame({"image_id": [1, 2], "width": 8, "height": 6}).to_parquet(folder / "images.parquet")
    pd.DataFrame({"image_id": [1, 2], "boxes": [LEFT + RIGHT] * 2}).to_parquet(folder / "candidates.parquet")
    answers.to_parquet(folder / "predictions.parquet")
    (folder / "card.json").write_text(json.dumps(CARD))
    (folder / "leakage.json").write_text(json.dumps({"toy": {"val": {"detector": {"level": "none", "overlap": None}}}}))
    (folder / "params.yaml").write_text("seed: 0\nevaluation: {resamples: 10}\n")
    evaluate(
        predictions=folder / "predictions.parquet", candidates=folder / "candidates.parquet", card=folder / "card.json",
        pairs=folder / "toy/pairs.parquet", truth=folder / "truth.parquet", images=folder / "images.parquet",
        leakage=folder / "leakage.json", out=folder / "metrics.json", samples_out=folder / "samples.parquet",
        params=folder / "params.yaml",
    )  # fmt: skip
    return json.loads((folder / "metrics.json").read_text())["val"]


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
    pd.DataFrame({"split": ["val"]}).to_parquet(tmp_path / "predictions.parquet")
    meta = describe(CARD | ({"candidates": source} if source else {}), tmp_path / "predictions.parquet", 0)
    assert meta.get("candidates") == source


def test_the_box_of_the_map_is_scored_beside_that_of_the_answer(tmp_path):
    report = scored(tmp_path, map_predictions(map_box=[LEFT, RIGHT, None], box=[RIGHT] * 3))
    assert (report["acc50"], report["acc50_any"], report["acc50_map_box"]) == (0.0, 1.0, pytest.approx(1 / 3, abs=1e-6))


@pytest.mark.parametrize("make", [predictions, map_predictions], ids=["boxes alone", "of response maps"])
def test_a_phrase_without_a_prediction_is_a_miss_everywhere(tmp_path, make):
    whole, part = (scored(tmp_path / name, make()[:rows]) for name, rows in (("whole", 3), ("part", 2)))
    rates = {name for name in whole if f"{name}_lo" in whole} - {"inconsistency"}
    assert {name: whole[name] for name in rates} == dict.fromkeys(rates, 1.0)
    assert {name: part[name] for name in rates} == pytest.approx(dict.fromkeys(rates, 2 / 3), abs=1e-6)
    assert (part["n"], part["hits"], part["coverage"]["1.0"]) == (3, 2, pytest.approx(2 / 3, abs=1e-6))
    expected = {"acc50", "miou_box"}
    if make is map_predictions:
        expected |= {"acc50_any", "acc50_map_box", "miou", "oiou", "miou_proposal", "point_in_mask", "point_in_box"}
    assert expected <= rates and ("miou" in rates) == ("miou" in expected)


def test_an_empty_table_of_predictions_hits_nothing(tmp_path):
    report = scored(tmp_path, map_predictions()[:0])
    assert (report["n"], report["hits"], report["acc50_any"], report["acc50_map_box"]) == (3, 0, 0.0, 0.0)
    assert "miou" not in report


def test_what_a_card_has_counted_stands_beside_the_numbers(tmp_path):
    counted = {"labels_dropped": 3, "labels_without_mask": 5, "masks_refused": 0, "cue_fallbacks": 7}
    card = {"num_parameters": 1, "sha256": "0", "training": {"last_ema_decay": 0.5}, "student": "mcn"}
    pd.DataFrame({"split": ["val"]}).to_parquet(tmp_path / "predictions.parquet")
    meta = describe(card | counted, tmp_path / "predictions.parquet", 0)
    assert {name: meta[name] for name in counted} == counted
    assert not meta.keys() & {"candidates", "student"}
