"""Training and answering see no truth; scoring sees all answers."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from claims import run_map_teacher, run_student, run_teacher, score
from claims.runs import RunFiles
from deixis.core.config import load_params
from deixis.core.records import write_json, write_table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def calls(monkeypatch) -> list[tuple[str, dict[str, Any]]]:
    """Every stage function that a run calls, with what it was given and the splits of its pairs."""
    calls_made: list[tuple[str, dict[str, Any]]] = []

    def record(name: str):
        def stage(*args: Any, **given: Any) -> None:
            if "files" in given:
                given |= vars(given.pop("files"))
            if "pairs" in given:
                given["splits"] = set(pd.read_parquet(given["pairs"])["split"])
            if "params" in given:
                given["settings"] = load_params(given["params"])
            calls_made.append((name, given | {str(number): value for number, value in enumerate(args)}))
            if name == "train_teacher":
                write_json({"teacher": "refclip"}, given["out"] / "config.json")
            if name == "write_pseudo_labels":
                row = {"box": [0.0, 0.0, 1.0, 1.0], "score": 1.0, "accept": True}
                rows = [row | {"sample_id": split, "split": split} for split in ("train", "val", "testA")]
                write_table(pd.DataFrame(rows), given["out"] / "boxes.parquet")

        return stage

    for module in (run_teacher, run_map_teacher, run_student):
        for name in vars(module).keys() & STAGES:
            monkeypatch.setattr(module, name, record(name))
    return calls_made


ASKED = {"val", "testB"}
STAGES = {
    "train_teacher", "write_pseudo_labels", "segment_boxes", "train_map_teacher", "write_map_labels", "train_student",
    "predict_student",
}  # fmt: skip


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """A dataset without truth.parquet, and a plan of two seeds."""
    prepared = tmp_path / "scenes_plus"
    columns = ["sample_id", "image_id", "expression", "text", "split"]
    rows = [(split, number, "ball", "ball", split) for number, split in enumerate(("train", "val", "testA", "testB"))]
    write_table(pd.DataFrame(rows, columns=columns), prepared / "pairs.parquet")
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "measure: {splits: [val, testB], run: default, overrides: {},"
        " seeds: {default: {refclip: 2, tris: 2, simrec: 2, weakmcn: 0}}}\n"
    )
    (tmp_path / "features" / "detector").mkdir(parents=True)
    places = {"pairs": prepared / "pairs.parquet", "images": prepared / "images.parquet"}
    settings = {"plan": plan, "claims": ROOT / "claims" / "claims.yaml", "params": ROOT / "params.yaml"}
    return {name: tmp_path / name for name in ("image_root", "out")} | places | settings


def check(calls: list[tuple[str, dict[str, Any]]], order: list[str]) -> None:
    assert [name for name, _ in calls] == 2 * order
    assert all("testA" not in arguments.get("splits", ()) for _, arguments in calls)


def run(variant: str, given, tmp_path) -> None:
    run_teacher.run_teacher(
        variant=variant, features=tmp_path / "features", detector=tmp_path / "all_scales",
        box_masks=tmp_path / "masks", segmenter=tmp_path, files=RunFiles(**given),
    )  # fmt: skip


def test_teacher(calls, given, tmp_path):
    run("refclip_n1", given, tmp_path)
    check(calls, ["train_teacher", "write_pseudo_labels"])
    assert [arguments["splits"] for _, arguments in calls[:2]] == [{"train"}, ASKED]
    settings = [arguments["settings"] for name, arguments in calls if name == "train_teacher"]
    assert [one["seed"] for one in settings] == [0, 1]
    assert {one["teachers"]["refclip"]["model"]["negatives"] for one in settings} == {1}
    assert not (given["out"] / "labels-0.parquet").exists()
    assert pd.read_parquet(given["out"] / "answers-0.parquet")["sample_id"].tolist() == ["val"]


def test_a_method_that_the_run_leaves_out_leaves_an_empty_folder(calls, given, tmp_path):
    run("weakmcn", given, tmp_path)
    assert not calls and not list(given["out"].iterdir())


def test_a_teacher_of_students_labels_train(calls, given, tmp_path):
    run("refclip", given, tmp_path)
    assert [arguments["splits"] for _, arguments in calls[:2]] == [{"train"}, {"train"} | ASKED]
    labels = pd.read_parquet(given["out"] / "labels-0.parquet")
    assert labels["sample_id"].tolist() == ["train"]
    assert labels["teacher"].tolist() == ["refclip"] and labels["mask"].isna().all()
    assert pd.read_parquet(given["out"] / "answers-0.parquet")["sample_id"].tolist() == ["val"]


def test_map_teacher_is_trained_once_and_read_in_every_way(calls, given, tmp_path):
    run_map_teacher.run_map_teacher(
        variant="tris", weights=tmp_path, judge=tmp_path / "judge", cues=tmp_path / "cues",
        proposals=tmp_path / "proposals",
        files=RunFiles(**given),
    )  # fmt: skip
    check(calls, ["train_map_teacher", *2 * ["write_map_labels"]])
    reads = [arguments["settings"]["map_labels"]["select"] for name, arguments in calls if name == "write_map_labels"]
    assert reads == ["none", "all", "none", "all"]
    outs = [arguments["out"].name for name, arguments in calls if name == "write_map_labels"]
    assert outs[:2] == ["answers-0.parquet", "answers-0-prms.parquet"]


def test_student(calls, given, tmp_path):
    files = RunFiles(**given)
    run_student.run_student(
        variant="simrec", labels=tmp_path / "dvin", weights=tmp_path, segmenter=tmp_path, files=files
    )
    check(calls, ["train_student", "predict_student"])
    trained = [arguments for name, arguments in calls if name == "train_student"]
    assert [arguments["labels"].name for arguments in trained] == ["labels-0.parquet", "labels-1.parquet"]
    assert all(arguments["splits"] == {"train"} for arguments in trained)


def test_scoring_keeps_scores_and_no_truth(monkeypatch, given, tmp_path):
    def evaluate(**arguments: Any) -> None:
        assert arguments["prepared"].name == "scenes_plus"  # reports/leakage.json knows it by that name
        assert pd.read_parquet(arguments["prepared"] / "pairs.parquet")["split"].tolist() == ["val", "testB"]
        row = {"sample_id": "val", "image_id": 1, "iou": 0.7, "true_box": [0.0, 0.0, 1.0, 1.0], "mask": None}
        write_table(pd.DataFrame([row]), arguments["samples_out"])
        scored.append((arguments["predictions"].name, arguments["card"].parent.name))

    scored: list[tuple[str, str]] = []
    monkeypatch.setattr(score, "evaluate", evaluate)
    (tmp_path / "claims.yaml").write_text(
        "teachers: {}\nmap_teachers: {tris: {method: tris, readings: {prms: {map_labels.select: all}}}}\nstudents: {}\n"
    )
    arguments = {name: given[name] for name in ("plan", "params")} | {"prepared": given["pairs"].parent}
    places = {name: tmp_path / name for name in ("runs", "candidates", "leakage", "out")}
    score.score(claims=tmp_path / "claims.yaml", **arguments, **places)
    assert scored == [(f"answers-{seed}{way}.parquet", f"model-{seed}") for seed in (0, 1) for way in ("", "-prms")]
    table = pd.read_parquet(tmp_path / "out" / "tris" / "1-prms.parquet")
    assert table.columns.tolist() == ["sample_id", "image_id", "iou"]


def test_one_module_names_truth():
    naming = [path.name for path in (ROOT / "claims").glob("*.py") if '"truth"' in path.read_text()]
    assert naming == ["score.py"]
