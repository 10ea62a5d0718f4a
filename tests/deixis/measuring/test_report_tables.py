"""Our rows and the papers' beside them."""

import json
from pathlib import Path

import pandas as pd
import pytest

from deixis.measuring.report_tables import (
    FACTS,
    METRICS,
    SPLITS,
    facts_table,
    published_scores,
    results_table,
)

REPORTS = Path(__file__).parents[3] / "reports"
PUBLISHED = REPORTS / "published.csv"
EXPOSURES = {"val": {"detector": {"images": 10, "overlap": 0, "level": "none", "basis": "by id"}}}


def score(value: float) -> dict:
    bounds = {"acc50": value, "acc50_lo": value - 0.1, "acc50_hi": value + 0.1}
    floors = dict.fromkeys(("floor_random", "floor_confident", "floor_whole"), 0.1) | {"ceiling": 0.9}
    return {"n": 10, "unanswered": 0, "exposure": "none"} | bounds | floors


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


def answered(**meta: object) -> dict:
    """A predictor with a mask."""
    metrics = ("point_in_mask", "point_in_box", "inconsistency")
    part = {f"{name}{end}": 0.5 for name in metrics for end in ("", "_lo", "_hi")}
    return {"val": score(0.5) | part, "meta": dict.fromkeys(FACTS, 0) | meta}


def shown(scores: dict) -> pd.DataFrame:
    return results_table(scores, published_scores(PUBLISHED, "scenes"), EXPOSURES).set_index("predictor")


def test_a_result_over_annotated_candidates_is_named_as_such():
    scores = {"truth-mattnet": answered(candidates="annotations"), "simrec": answered()}
    assert shown(scores)["candidates"].to_dict() == {"truth-mattnet": "annotations", "simrec": ""}
    assert facts_table(scores)["candidates"].tolist() == ["annotations", ""]
    assert "candidates" not in shown({"simrec": answered()})


def test_what_fell_back_or_was_left_out_stands_among_the_facts():
    counted = {"labels_dropped": 3, "labels_without_mask": 5, "masks_refused": 0, "cue_fallbacks": 7}
    facts = facts_table({"student": answered(**counted), "simrec": answered()}).set_index("predictor")
    assert facts.loc["student", list(counted)].tolist() == [3, 5, 0, 7]
    assert facts.loc["simrec", list(counted)].tolist() == [""] * 4
    assert list(facts_table({"simrec": answered()})) == ["predictor", *FACTS]
    partly = answered(refused={"margin": 2, "no mask": 1})
    partly["val"]["unanswered"] = 4
    facts = facts_table({"dvin": partly, "simrec": answered()}).set_index("predictor")
    assert facts[["refused", "unanswered"]].to_numpy().tolist() == [["2 margin, 1 no mask", 4], ["", ""]]


def test_metrics_of_maps_and_of_students_of_masks_are_shown_where_there_are_such():
    assert not {"PointIt", "inconsistency", "any box"} & {*shown({"simrec": answered()})}
    mapped = answered()
    mapped["val"] |= {"acc50_any": 0.5, "acc50_any_lo": 0.4, "acc50_any_hi": 0.6}
    table = shown({"tris": mapped})
    assert table.loc["tris", ["any box", "PointIt"]].tolist() == ["50.0 [40.0, 60.0]", "50.0 [50.0, 50.0]"]
    assert "inconsistency" not in table
    assert "inconsistency" in shown({"mcn": answered(labels_without_mask=0)})


@pytest.mark.parametrize("dataset", ["scenes", "scenes_plus"])
def test_the_committed_table_has_the_committed_headlines(dataset):
    lines = (REPORTS / "tables" / "results.md").read_text().split(f"## {dataset}\n")[1].split("\n## ")[0].splitlines()
    for name in ("refclip", "dvin", "dvin-simrec", "dvin-transvg"):
        numbers = json.loads((REPORTS / "headlines" / dataset / f"{name}.json").read_text())
        for split, key in (("val", "acc50"), ("testA", "acc50_testA"), ("testB", "acc50_testB")):
            row = next(line for line in lines if line.startswith(f"| {split} | {name} |"))
            shown = float(row.split(" | ")[3].partition(" [")[0])
            assert shown == pytest.approx(100 * numbers[key], abs=0.06)
