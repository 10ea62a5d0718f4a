"""Training and labelling come first and see no truth; scoring comes last."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from claims import measure_map_teacher, measure_student, measure_teacher, runs
from deixis.core.config import load_params
from deixis.core.records import write_json, write_table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def calls(monkeypatch) -> list[tuple[str, dict[str, Any]]]:
    """Every stage function that a measurement calls, with what it was given and the splits of its pairs."""
    seen: list[tuple[str, dict[str, Any]]] = []

    def record(name: str):
        def stage(*args: Any, **given: Any) -> None:
            if "pairs" in given:
                given["splits"] = set(pd.read_parquet(given["pairs"])["split"])
            if "params" in given:
                given["settings"] = load_params(given["params"])
            seen.append((name, given | {str(number): value for number, value in enumerate(args)}))
            if name == "train_teacher":
                write_json({"teacher": "refclip"}, given["out"] / "config.json")
            if name == "write_pseudo_labels":
                row = {"sample_id": "a", "box": [0.0, 0.0, 1.0, 1.0], "score": 1.0, "accept": True, "split": "val"}
                write_table(pd.DataFrame([row]), given["out"] / "boxes.parquet")

        return stage

    for module in (measure_teacher, measure_map_teacher, measure_student):
        for name in vars(module).keys() & STAGES:
            monkeypatch.setattr(module, name, record(name))
    return seen


STAGES = {
    "train_teacher", "write_pseudo_labels", "segment_boxes", "train_map_teacher", "write_map_labels", "train_student",
    "predict_student", "score",
}  # fmt: skip


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """A dataset without truth.parquet, and a plan of two seeds."""
    prepared = tmp_path / "scenes_plus"
    columns = ["sample_id", "image_id", "expression", "text", "split"]
    rows = [(split, number, "ball", "ball", split) for number, split in enumerate(("train", "val", "testA"))]
    write_table(pd.DataFrame(rows, columns=columns), prepared / "pairs.parquet")
    plan = tmp_path / "plan.yaml"
    plan.write_text("measure: {seeds: [3, 4], resamples: 10, overrides: {}}\n")
    (tmp_path / "features" / "detector").mkdir(parents=True)
    named = {name: tmp_path / name for name in ("image_root", "candidates", "leakage", "out")}
    settings = {"plan": plan, "claims": ROOT / "claims" / "claims.yaml", "params": ROOT / "params.yaml"}
    return {"prepared": prepared} | named | settings


def check(calls: list[tuple[str, dict[str, Any]]], order: list[str], prepared: Path) -> None:
    assert [name for name, _ in calls] == 2 * order
    for name, arguments in calls:
        if name != "score":
            below = [
                value for value in arguments.values() if isinstance(value, Path) and value.is_relative_to(prepared)
            ]
            assert set(below) <= {prepared / "images.parquet"}
            assert "testA" not in arguments.get("splits", ())


def test_teacher(calls, given, tmp_path):
    measure_teacher.measure_teacher(
        variant="refclip_n1", features=tmp_path / "features", box_masks=tmp_path / "masks", segmenter=tmp_path, **given
    )
    check(calls, ["train_teacher", "write_pseudo_labels", "score"], given["prepared"])
    settings = [arguments["settings"] for name, arguments in calls if name == "train_teacher"]
    assert [found["seed"] for found in settings] == [3, 4]
    assert {found["teachers"]["refclip"]["model"]["negatives"] for found in settings} == {1}
    labels = pd.read_parquet(given["out"] / "labels-3.parquet")
    assert labels["teacher"].tolist() == ["refclip"] and labels["mask"].isna().all()


def test_map_teacher_is_trained_once_and_read_in_every_way(calls, given, tmp_path):
    measure_map_teacher.measure_map_teacher(
        variant="tris", weights=tmp_path, cues=tmp_path / "cues", proposals=tmp_path / "proposals", **given
    )
    check(calls, ["train_map_teacher", *2 * ["write_map_labels", "score"]], given["prepared"])
    reads = [arguments["settings"]["map_labels"]["select"] for name, arguments in calls if name == "write_map_labels"]
    assert reads == ["none", "all", "none", "all"]
    assert [arguments["out"].name for name, arguments in calls if name == "score"][:2] == [
        "3.parquet",
        "3-prms.parquet",
    ]


def test_student(calls, given, tmp_path):
    measure_student.measure_student(
        variant="simrec", labels=tmp_path / "dvin", backbone=tmp_path, segmenter=tmp_path, **given
    )
    check(calls, ["train_student", "predict_student", "score"], given["prepared"])
    trained = [arguments for name, arguments in calls if name == "train_student"]
    assert [arguments["labels"].name for arguments in trained] == ["labels-3.parquet", "labels-4.parquet"]
    assert all(arguments["splits"] == {"train"} for arguments in trained)


def test_scoring_keeps_scores_and_no_truth(monkeypatch, given, tmp_path):
    def evaluate(**asked: Any) -> None:
        assert asked["pairs"].parent.name == "scenes_plus"  # reports/leakage.json knows it by that name
        assert pd.read_parquet(asked["pairs"])["split"].tolist() == ["val"]
        row = {"sample_id": "val", "image_id": 1, "iou": 0.7, "true_box": [0.0, 0.0, 1.0, 1.0], "mask": None}
        write_table(pd.DataFrame([row]), asked["samples_out"])

    monkeypatch.setattr(runs, "evaluate", evaluate)
    shared = {name: given[name] for name in ("prepared", "candidates", "leakage", "params")}
    runs.score(tmp_path / "a", tmp_path / "b", folder=tmp_path / "scoring", out=tmp_path / "0.parquet", **shared)
    assert pd.read_parquet(tmp_path / "0.parquet").columns.tolist() == ["sample_id", "image_id", "iou"]


def test_one_function_names_truth():
    naming = [path.name for path in (ROOT / "claims").glob("*.py") if '"truth.parquet"' in path.read_text()]
    assert naming == ["runs.py"]
