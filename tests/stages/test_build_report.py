"""Our rows and the papers' beside them."""

from pathlib import Path

import pandas as pd

from stages.build_report import METRICS, SPLITS, coverage_curves, published_scores, results_table

PUBLISHED = Path(__file__).parents[2] / "reports" / "published.csv"
EXPOSURES = {"val": {"detector": {"images": 10, "overlap": 0, "level": "none", "basis": "by id"}}}


def score(value: float) -> dict:
    bounds = {"acc50": value, "acc50_lo": value - 0.1, "acc50_hi": value + 0.1}
    floors = dict.fromkeys(("floor_random", "floor_confident", "floor_whole"), 0.1) | {"ceiling": 0.9}
    return {"n": 10, "exposure": "none"} | bounds | floors


def test_the_papers_rows_stand_below_ours_of_the_same_split():
    table = results_table({"dvin": {"val": score(0.5)}}, published_scores(PUBLISHED, "refcoco_unc"), EXPOSURES)
    val = table[table["split"] == "val"].set_index("predictor")["Acc@0.5"]
    assert val.iloc[0] == "50.0 [40.0, 60.0]"
    assert val["dvin: DViN paper, main table"] == "67.7"
    assert val["refclip: RefCLIP paper, main table"] == "60.4"


def test_embedded_sets_have_no_published_rows():
    assert published_scores(PUBLISHED, "scenes").empty
    assert len(results_table({"dvin": {"val": score(0.5)}}, published_scores(PUBLISHED, "scenes"), EXPOSURES)) == 1


def test_every_published_value_is_a_percentage_of_a_known_metric_with_a_source():
    table = pd.read_csv(PUBLISHED)
    values = table[list(SPLITS)]
    assert set(table["metric"]) <= METRICS.keys()
    assert table["source"].str.len().min() > 5
    assert values.notna().any(axis=1).all() and values.stack().dropna().between(5, 95).all()
    assert not table.duplicated(["predictor", "dataset", "metric", "source"]).any()


def test_the_chart_says_whose_answers_are_ordered_by_confidence():
    curve = {"0.5": 0.9, "1.0": 0.8}
    scores = {
        "dvin": {"val": {"coverage": curve}},
        "dvin-rated": {"val": {"coverage": curve, "calibration_error": 0.1}},
    }
    assert coverage_curves(scores) == {"dvin": curve, "dvin-rated, by confidence": curve}
    assert coverage_curves({"student": {"val": {}}}) == {"student": None}
