"""Scores against hand-computed examples: strict threshold, misses, both mask means, intervals over images, groups."""

import math

import numpy as np
import pandas as pd
import pytest

from deixis.measuring import metrics
from deixis.measuring.difficulty import difficulty
from deixis.measuring.metrics import box_iou, calibration_error, coverage_curve, summarise


def samples(ious, *, image_ids=None, **columns) -> pd.DataFrame:
    count = len(ious)
    made = {
        "image_id": list(range(count)) if image_ids is None else image_ids,
        "iou": ious,
        "group": "simple",
        "answered": True,
    }
    floors = dict.fromkeys(("floor_random", "floor_confident", "floor_whole", "ceiling"), 0.5)
    return pd.DataFrame(made | floors | columns)


def score(ious, *, resamples=200, seed=0, **columns):
    return summarise(samples(ious, **columns), resamples=resamples, seed=seed)


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (0, 0, 10, 20), 0.5),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (2, 2, 4, 4), 0.04),
        ((-10, -10, 10, 10), (-10, -10, 0, 10), 0.5),
        ((5, 5, 5, 15), (0, 0, 10, 20), 0.0),
        ((5, 5, 5, 5), (5, 5, 5, 5), 0.0),
        ((10, 10, 0, 0), (0, 0, 10, 10), 0.0),
        ((0, 0, math.nan, 10), (0, 0, 10, 10), 0.0),
        ((math.nan,) * 4, (0, 0, 10, 10), 0.0),
        ((0, 0, math.inf, math.inf), (0, 0, 10, 10), 0.0),
    ],
    ids=[
        "equal", "half", "a third", "touching", "inside", "outside the image", "no width", "both empty", "turned round",
        "one NaN", "all NaN", "infinite",
    ],
)  # fmt: skip
def test_box_iou(predicted, truth, expected):
    assert box_iou(np.array([predicted], float), np.array([truth], float)) == pytest.approx([expected], abs=1e-12)


def test_an_iou_of_exactly_one_half_is_a_miss():
    tie = box_iou(np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 0, 10, 20]]))
    report = score([*tie, np.nextafter(0.5, 1), 0.9])
    assert (report["n"], report["hits"], report["acc50"]) == (3, 2, pytest.approx(2 / 3, abs=1e-6))


def test_a_missing_prediction_counts_as_a_miss():
    predicted = np.array([[0, 0, 10, 10], [math.nan] * 4, [0, 0, 0, 0]], float)
    report = score(list(box_iou(predicted, np.tile([0.0, 0, 10, 10], (3, 1)))))
    assert (report["n"], report["hits"]) == (3, 1)
    assert report["acc50"] == report["miou_box"] == pytest.approx(1 / 3, abs=1e-6)


MASKS = {
    "intersection": [10, 300, 0, 190],
    "union": [20, 400, 0, 200],
    "point_in_mask": [True, True, False, False],
    "point_in_box": [True] * 4,
}


def test_both_mask_means_by_hand():
    report = score([0.1, 0.2, 0.3, 0.6], **MASKS)
    expected = {
        "miou": (0.5 + 0.75 + 0 + 0.95) / 4,  # both empty counts 0 in a set whose every phrase has a target
        "oiou": 500 / 620,
        "p50": 3 / 4,
        "p70": 2 / 4,
        "p90": 1 / 4,
        "point_in_mask": 2 / 4,
        "point_in_box": 1.0,
        "inconsistency": 2 / 4,  # masks of the first two reach one half and their boxes do not; the third fails in both
        "miou_box": 0.3,
        "acc50": 0.25,
    }
    assert {name: report[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_precision_of_masks_counts_equality():
    report = score([1.0, 1.0], intersection=[7, 9], union=[10, 10], point_in_mask=[True] * 2, point_in_box=[True] * 2)
    assert (report["p70"], report["p80"], report["p90"]) == (1.0, 0.5, 0.5)


def test_10_means_and_precision_of_two_masks():
    report = score([0.0] * 2, intersection=[50, 1], union=[100, 10], point_in_mask=[True] * 2, point_in_box=[True] * 2)
    assert (report["miou"], report["oiou"], report["p50"]) == pytest.approx((0.3, 51 / 110, 0.5), abs=1e-6)


@pytest.mark.parametrize(
    ("times", "expected"), [(3, 91 / 310), (9, 271 / 910)], ids=["once per phrase", "as released, for each phrase anew"]
)
def test_11_an_object_counts_in_overall_iou_once_per_phrase_that_shares_its_map(times, expected):
    """One object has three phrases, and by PRMS one map; the release looks at all three for each of the three."""
    masks = {"intersection": [30] * times + [1], "union": [100] * times + [10]}
    points = {"point_in_mask": [True] * (times + 1), "point_in_box": [True] * (times + 1)}
    report = score([0.0] * (times + 1), **masks, **points)
    assert report["oiou"] == pytest.approx(expected, abs=1e-6)


def test_any_of_several_boxes_and_the_best_match_are_scored_beside_the_answer():
    columns = {"iou_any": [0.6, 0.9], "iou_map_box": [0.1, 0.6], "iou_match": [0.2, 0.5]}
    report = score([0.2, 0.9], **columns, mask_iou_prompted=[0.1, 0.1])
    assert (report["acc50"], report["acc50_any"], report["acc50_map_box"], report["acc50_match"]) == (
        0.5,
        1.0,
        0.5,
        0.0,
    )
    assert "miou_prompted" not in report  # without masks of its own there is nothing to compare


def test_huge_pixel_sums_do_not_overflow():
    pixels = [60_000_000] * 100
    report = score(
        [1.0] * 100, intersection=pixels, union=pixels, point_in_mask=[True] * 100, point_in_box=[True] * 100
    )
    assert report["oiou"] == report["miou"] == 1.0


def test_without_masks_no_mask_score_is_claimed():
    assert not {"miou", "oiou", "p70", "p90", "point_in_mask"} & score([0.9, 0.1]).keys()


def test_bootstrap_draws_images_and_not_expressions():
    images = np.repeat(np.arange(10), 60)  # in each image all phrases hit, or all miss
    ious = np.where(images % 2 == 0, 0.9, 0.1)
    report = score(list(ious), image_ids=list(images), resamples=2000)
    clustered = 1.96 * math.sqrt(0.25 / 10)  # over 600 expressions it would be 0.04
    assert report["images"] == 10 and report["acc50"] == 0.5
    assert report["acc50_hi"] - report["acc50_lo"] == pytest.approx(2 * clustered, abs=0.1)
    assert report["miou_box_hi"] - report["miou_box_lo"] == pytest.approx(0.8 * 2 * clustered, abs=0.1)


def test_ratios_are_taken_anew_from_the_sums_of_each_resample():
    ious, pixels = [0.9, 0.1, 0.1, 0.1], {"intersection": [90, 1, 1, 1], "union": [100, 10, 10, 10]}
    columns = pixels | {
        "point_in_mask": [True, False, False, False],
        "point_in_box": [True] * 4,
        "image_ids": [7, 8, 8, 8],
    }
    report = score(ious, resamples=4000, **columns)
    assert report["acc50"] == 0.25 and report["oiou"] == pytest.approx(93 / 130, abs=1e-6)
    bounds = [report[f"{name}_{end}"] for name in ("acc50", "oiou", "miou") for end in ("lo", "hi")]
    assert bounds == pytest.approx([0.0, 1.0, 0.1, 0.9, 0.1, 0.9], abs=1e-6)


def test_one_image_has_an_interval_without_width():
    report = score([0.9, 0.1], image_ids=[3, 3])
    assert report["acc50_lo"] == report["acc50"] == report["acc50_hi"] == 0.5


def test_same_seed_same_interval_and_row_order_is_irrelevant():
    rng = np.random.default_rng(1)
    table = samples(list(rng.random(80)), image_ids=list(rng.integers(0, 17, 80)))
    first = summarise(table, resamples=100, seed=5)
    assert summarise(table, resamples=100, seed=5) == first
    assert summarise(table.sample(frac=1, random_state=2), resamples=100, seed=5) == first
    assert summarise(table, resamples=100, seed=6)["acc50_lo"] != first["acc50_lo"]
    assert first["acc50_lo"] <= first["acc50"] <= first["acc50_hi"]


def test_the_interval_does_not_depend_on_how_many_resamples_are_in_memory(monkeypatch):
    rng = np.random.default_rng(1)
    table = samples(list(rng.random(80)), image_ids=list(rng.integers(0, 17, 80)))
    whole = summarise(table, resamples=100, seed=5)
    monkeypatch.setattr(metrics, "DRAWS_AT_ONCE", 17 * 30)
    assert summarise(table, resamples=100, seed=5) == whole


def test_groups_carry_their_size_and_share():
    table = samples([0.9, 0.1, 0.5, 0.8])
    table["group"] = ["simple", "simple", "attribute", "long_plain"]
    groups = summarise(table, resamples=10, seed=0)["groups"]
    assert groups["simple"] == {"n": 2, "acc50": 0.5}
    assert groups["attribute"] == {"n": 1, "acc50": 0.0}
    assert sum(group["n"] for group in groups.values()) == 4


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("ball", "simple"),
        ("the ball at the back", "simple"),
        ("the ball at the front", "long_plain"),
        ("person on the far left", "long_plain"),
        ("left ball", "simple"),
        ("red ball", "attribute"),
        ("one little ball here", "attribute"),
        ("the little ball there", "attribute_long"),
        ("redhead boy", "simple"),
        ("striped ball", "attribute"),
        ("man holding umbrella", "attribute"),
        ("wooden table", "attribute"),
        ("boy in hat", "attribute"),
        ("the wider door", "attribute"),
        ("tiniest cat", "attribute"),
    ],
    ids=[
        "plain", "20 characters are short", "21 are long", "long, location only", "location is no attribute", "colour",
        "20 with attribute", "21 with attribute", "whole words only", "pattern", "pose", "material", "clothing",
        "-er form", "-est form",
    ],
)  # fmt: skip
def test_difficulty(text, group):
    assert difficulty(text) == group


def test_coverage_is_the_accuracy_of_the_most_confident_part():
    curve = coverage_curve(pd.Series([True, False, True, False]), pd.Series([0.1, 0.2, 0.9, 0.3]))
    assert curve["0.2"] == 1.0 and curve["0.5"] == 0.5 and curve["1.0"] == 0.5  # 0.2 of four is one


def test_calibration_error_is_the_gap_between_confidence_and_hits_bin_by_bin():
    hits = pd.Series([True, False, True, True])
    assert calibration_error(hits, pd.Series([0.51, 0.59, 1.0, 0.98])) == pytest.approx((2 * 0.05 + 2 * 0.01) / 4)
    assert calibration_error(hits, pd.Series([1.0, 0.0, 1.0, 1.0])) == 0
    assert calibration_error(hits, pd.Series([0.0, 1.0, 0.0, np.nan])) == 1


def test_answers_with_a_confidence_are_ordered_by_it_and_the_others_by_margin():
    table = samples([0.9, 0.0], margin=[0.0, 1.0])
    plain = summarise(table, resamples=2, seed=0)
    assert plain["coverage"]["0.5"] == 0.0 and "calibration_error" not in plain
    rated = summarise(table.assign(confidence=[0.8, 0.1]), resamples=2, seed=0)
    assert rated["coverage"]["0.5"] == 1.0 and rated["calibration_error"] == pytest.approx(0.15)
