"""The guard reads cards and lists, says how it knows, and can stop a run."""

import json
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from deixis.core.config import read_section
from deixis.core.errors import ConfigError, DataError
from deixis.measuring.report_tables import published_scores, results_table
from stages.build_report import leakage_rows
from stages.check_leakage import LeakageParams, check_leakage

PUBLISHED = Path(__file__).parents[2] / "reports" / "published.csv"


@pytest.fixture
def world(tmp_path):
    """Two datasets and three frozen models: ours, a stock detector, and RefCLIP's."""
    params = {
        "run": {"datasets": ["refcoco_unc", "scenes"]},
        "scenes": {"scenes": {}},
        "datasets": {"refcoco_unc": {"images_from": "coco_train2014"}, "scenes": {}},
        "leakage": {"refuse_above": "mask", "id_lists": str(tmp_path / "lists")},
    }
    for dataset in params["run"]["datasets"]:
        (tmp_path / "prepared" / dataset).mkdir(parents=True)
        pairs = pd.DataFrame({"image_id": [1, 2, 2, 3, 4], "split": ["train", "val", "val", "val", "testA"]})
        pairs.to_parquet(tmp_path / "prepared" / dataset / "pairs.parquet")
    ours = tmp_path / "weights" / "ours"
    for name, facts in {
        "ours": {"labels": "box"}, "stock": {"card": "yolov8n"}, "refclip": {"card": "refclip-yolov3"},
    }.items():  # fmt: skip
        (tmp_path / "weights" / name).mkdir(parents=True)
        (tmp_path / "weights" / name / "config.json").write_text(json.dumps(facts))
    pd.DataFrame({"image_id": [3, 5]}).to_parquet(ours / "training_images.parquet")

    def check(**changes):
        params["leakage"] |= changes
        with (tmp_path / "params.yaml").open("w") as stream:
            YAML(typ="safe").dump(params, stream)
        check_leakage(
            prepared=tmp_path / "prepared", weights=tmp_path / "weights", out=tmp_path / "leakage.json",
            params=tmp_path / "params.yaml",
        )  # fmt: skip
        return json.loads((tmp_path / "leakage.json").read_text())

    check.folder = tmp_path
    return check


def test_levels_and_bases_of_every_model_and_split(world):
    report = world()
    assert list(report) == ["refcoco_unc", "scenes"]
    assert list(report["refcoco_unc"]) == ["testA", "val"]  # no train
    val = report["refcoco_unc"]["val"]
    assert list(val) == ["ours", "refclip", "stock"]
    assert val["stock"] == {"images": 2, "overlap": 2, "level": "box", "basis": "by name"}
    assert val["refclip"] == {"images": 2, "overlap": None, "level": "unknown", "basis": "unknown"}
    assert val["ours"]["level"] == "unknown"  # drawn images bear other ids
    assert report["scenes"]["val"]["ours"] == {"images": 2, "overlap": 1, "level": "box", "basis": "by id"}
    assert report["scenes"]["testA"]["ours"] == {"images": 1, "overlap": 0, "level": "none", "basis": "by id"}
    assert report["scenes"]["val"]["stock"]["level"] == "none"


def test_a_list_of_ids_decides_where_the_name_cannot(world):
    (world.folder / "lists").mkdir()
    path = world.folder / "lists" / "coco_without_refer_evaluation.txt"
    path.write_text("1\nCOCO_train2014_000000000009.jpg\n")
    exposures = world()["refcoco_unc"]
    assert exposures["val"]["refclip"] == {"images": 2, "overlap": 0, "level": "none", "basis": "by id"}
    path.write_text("4\n")
    assert world()["refcoco_unc"]["testA"]["refclip"] == {"images": 1, "overlap": 1, "level": "box", "basis": "by id"}


def test_a_model_trained_here_on_published_images_is_compared_by_id(world):
    config = world.folder / "weights" / "ours" / "config.json"
    config.write_text(json.dumps({"labels": "box", "images_from": "coco_train2017"}))
    exposures = world()["refcoco_unc"]
    assert exposures["val"]["ours"] == {"images": 2, "overlap": 1, "level": "box", "basis": "by id"}
    assert exposures["testA"]["ours"]["level"] == "none"


def test_a_run_stops_above_the_allowed_level_and_the_report_says_why(world):
    message = (
        r"leakage\.refuse_above: caption.*stock and refcoco_unc val: box \(by name, 2 of 2 images\).*write_exclusions"
    )
    with pytest.raises(DataError, match=message):
        world(refuse_above="caption")
    written = json.loads((world.folder / "leakage.json").read_text())
    assert written["refcoco_unc"]["val"]["stock"]["level"] == "box"
    assert world(refuse_above="box")


def test_unknown_is_no_pass(world):
    with pytest.raises(DataError, match=r"refclip and refcoco_unc val: unknown \(unknown, \? of 2 images\)"):
        world(refuse_above="none")


def test_a_level_that_does_not_exist_is_refused(world):
    with pytest.raises(ConfigError, match=r"leakage\.refuse_above is 'boxes'.*'image_unlabelled'"):
        world(refuse_above="boxes")


def test_weights_that_say_nothing_of_their_training_are_refused(world):
    (world.folder / "weights" / "ours" / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"ours/config\.json: says neither `card`.*nor `labels`"):
        world()


def test_the_report_shows_level_and_basis_beside_every_number_and_every_model_apart(world):
    report = world()
    metrics = ("acc50", "acc50_lo", "acc50_hi", "floor_random", "floor_confident", "floor_whole", "ceiling")
    part = {"n": 3, "exposure": "box"} | dict.fromkeys(metrics, 0.5)
    shown = results_table({"dvin": {"val": part}}, published_scores(PUBLISHED, "none"), report["refcoco_unc"])
    assert shown["exposure"].tolist() == ["box (by name)"]
    rows = leakage_rows(report)
    assert {row["model"] for row in rows} == {"ours", "refclip", "stock"}
    assert all({"level", "basis", "overlap"} <= set(row) for row in rows)


def test_the_shipped_setting_refuses_no_model_that_is_measured():
    assert read_section(Path(__file__).parents[2] / "params.yaml", "leakage", LeakageParams).refuse_above == "mask"
