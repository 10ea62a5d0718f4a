"""Points and boxes against truth, as the response-map papers count them, and the stage on three phrases."""

import json

import numpy as np
import pandas as pd
import pytest

from deixis.imaging.masks import encode_mask
from stages.evaluate import best_iou, describe, evaluate, middle, point_in_box, point_in_mask

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


def scored(folder, answers: pd.DataFrame, *, masks=(LEFT, LEFT, LEFT)) -> dict:
    """Metrics of the stage on the images of those phrases; their true masks may be unknown."""
    (folder / "toy").mkdir(parents=True)
    names = {"sample_id": ["a", "b", "c"], "image_id": [1, 1, 2]}
    pairs = pd.DataFrame(names | {"expression": "Star", "text": "star", "split": "val"})
    pairs.to_parquet(folder / "toy/pairs.parquet")
    truth = pd.DataFrame({"sample_id": ["a", "b", "c"], "box": [LEFT] * 3})
    truth["mask"] = pd.Series([None if mask is None else rectangle(mask) for mask in masks], dtype=object)
    truth.to_parquet(folder / "toy/truth.parquet")
    pd.DataFrame({"image_id": [1, 2], "width": 8, "height": 6}).to_parquet(folder / "toy/images.parquet")
    pd.DataFrame({"image_id": [1, 2], "boxes": [LEFT + RIGHT] * 2}).to_parquet(folder / "candidates.parquet")
    answers.to_parquet(folder / "predictions.parquet")
    (folder / "card.json").write_text(json.dumps(CARD))
    (folder / "leakage.json").write_text(json.dumps({"toy": {"val": {"detector": {"level": "none", "overlap": None}}}}))
    (folder / "params.yaml").write_text("seed: 0\nevaluation: {resamples: 10}\n")
    evaluate(
        predictions=folder / "predictions.parquet", candidates=folder / "candidates.parquet", card=folder / "card.json",
        prepared=folder / "toy", leakage=folder / "leakage.json", out=folder / "metrics.json",
        samples_out=folder / "samples.parquet", headlines_out=folder / "headlines.json",
        params=folder / "params.yaml",
    )  # fmt: skip
    return json.loads((folder / "metrics.json").read_text())["val"]


@pytest.mark.parametrize(
    "box", [np.array([1, 0, 3, 3]), np.array([0, 0, 2, 3])], ids=["inside", "on the right side, which belongs"]
)
def test_12_a_peak_may_lie_in_the_box_and_not_in_the_mask(box):
    mask = np.ones((4, 4), bool)
    mask[1, 2] = False
    assert not point_in_mask((2, 1), mask) and point_in_box((2, 1), box)


def test_the_training_seed_is_told_where_it_is_another(tmp_path):
    predictions().to_parquet(tmp_path / "labels.parquet")
    assert "training_seed" not in describe(CARD | {"seed": 0}, tmp_path / "labels.parquet", 0)
    assert describe(CARD | {"seed": 3}, tmp_path / "labels.parquet", 0)["training_seed"] == 3


def test_a_point_outside_the_image_hits_nothing():
    mask = np.ones((4, 4), bool)
    assert not point_in_mask((-1, -1), mask) and not point_in_box((-1, -1), np.array([0, 0, 4, 4]))
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
    assert report["unanswered"] == 3 and report["miou"] == report["point_in_mask"] == 0.0


@pytest.mark.parametrize("point", [[[1, 2]] * 3, None], ids=["a point", "the middle of the box"])
def test_metrics_of_masks_are_taken_over_the_phrases_whose_true_mask_is_known(tmp_path, point):
    answers = map_predictions(mask=[rectangle(LEFT), rectangle(RIGHT), rectangle(RIGHT)])
    answers = answers.drop(columns="point") if point is None else answers.assign(point=point)
    report = scored(tmp_path / "some", answers, masks=(LEFT, None, LEFT))
    assert (report["n"], report["n_masks"], report["unanswered"]) == (3, 2, 0)
    assert (report["acc50"], report["miou"], report["p50"], report["inconsistency"]) == (1.0, 0.5, 0.5, 0.5)
    assert (report["point_in_mask"], report["point_in_box"], report["miou_map"]) == (1.0, 1.0, 1.0)
    assert report["oiou"] == pytest.approx(24 / (24 + 24 + 15), abs=1e-6)
    bare = scored(tmp_path / "none", answers, masks=(None, None, None))
    assert bare["point_in_box"] == 1.0 and not {"n_masks", "miou", "oiou", "point_in_mask", "miou_map"} & bare.keys()


def test_a_predictor_that_only_points_is_scored(tmp_path):
    report = scored(tmp_path, map_predictions(mask=[None] * 3))
    assert (report["miou"], report["point_in_mask"]) == (0.0, 1.0)


def test_refusals_are_counted_by_reason(tmp_path):
    accept, reason = [False, True, False], ["margin", "", "margin"]
    scored(tmp_path, predictions(accept=accept, reason=reason))
    assert json.loads((tmp_path / "metrics.json").read_text())["meta"]["refused"] == {"margin": 2}


def test_what_a_card_has_counted_stands_beside_the_numbers(tmp_path):
    counted = {
        "labels_missing": 2,
        "images_without_proposals": 1,
        "labels_dropped": 3,
        "labels_without_mask": 5,
        "masks_refused": 0,
        "cue_fallbacks": 7,
    }
    card = {"num_parameters": 1, "sha256": "0", "training": {"last_ema_decay": 0.5}, "student": "mcn"}
    pd.DataFrame({"split": ["val"]}).to_parquet(tmp_path / "predictions.parquet")
    meta = describe(card | counted, tmp_path / "predictions.parquet", 0)
    assert {name: meta[name] for name in counted} == counted
    assert not meta.keys() & {"candidates", "student"}
