"""From a published folder to labels in a tool's format and a student of them, through the real stages: every set."""

import json
import shutil
from dataclasses import asdict

import pandas as pd
import pytest
import torch
from pycocotools.coco import COCO
from ruamel.yaml import YAML

from commands.export import export
from commands.export_model import export_model
from deixis.core.checkpoints import save_checkpoint
from deixis.core.config import load_params
from deixis.core.records import read_json
from models.blocks.csp_darknet import CSPDarkNet
from stages.check_leakage import check_leakage
from stages.evaluate import evaluate
from stages.extract_features import extract_features
from stages.list_candidates import list_candidates
from stages.predict_student import predict_student
from stages.prepare import prepare
from stages.segment_boxes import segment_boxes
from stages.train_student import train_student
from stages.train_teacher import train_teacher
from stages.write_pseudo_labels import write_pseudo_labels
from tests.fabricate import KINDS, fabricate
from tests.small_world import BACKBONE, SIDE, TEXT
from tests.test_repository import ROOT
from training.files import TrainingFiles

MODEL = {
    "detector_channels": [24, 16, 8], "fused_width": 16, "joint_width": 8, "keep_fraction": 0.2, "text": asdict(TEXT),
}  # fmt: skip
STUDENT = {
    "input_size": SIDE, "resize_sides": [SIDE], "backbone": asdict(BACKBONE), "text": asdict(TEXT), "fused_width": 16,
    "head_width": 8,
}  # fmt: skip
RECIPE = {"epochs": 1, "batch_size": 8, "warmup_epochs": 0.5}


@pytest.fixture
def folder(tmp_path, monkeypatch, world, request):
    """A working directory with one fabricated set, parameters, and frozen models."""
    monkeypatch.chdir(tmp_path)
    entry = load_params(ROOT / "params.yaml")["datasets"][request.param] | {"allow_other_counts": True}
    params = {
        "seed": 0, "run": {"datasets": [request.param]}, "datasets": {request.param: entry | {"max_quarantined": 0.2}},
        "leakage": {"refuse_above": "mask", "id_lists": "lists"}, "detector": {"model": {"input_size": 128}},
        "extraction": {"batch_size": 8}, "candidates": {}, "labels": {"batch_size": 32},
        "evaluation": {"resamples": 10},
        "teachers": {"refclip": {"model": MODEL, "recipe": RECIPE}},
        "students": {"simrec": {"model": STUDENT, "recipe": RECIPE}},
    }  # fmt: skip
    YAML(typ="safe", pure=True).dump(params, tmp_path / "params.yaml")
    fabricate(tmp_path / "raw", request.param, images=24, seed=0)
    shutil.copytree(world / "data/weights/embedded", tmp_path / "weights")
    for card in tmp_path.glob("weights/*/config.json"):
        pd.DataFrame({"image_id": pd.Series([5], dtype="int64")}).to_parquet(card.parent / "training_images.parquet")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("folder", KINDS, indirect=True)
def test_a_published_folder_becomes_labels_a_student_numbers_and_exports(folder, request):
    dataset = request.node.callspec.params["folder"]
    prepared, where = folder / "prepared" / dataset, {"image_root": folder / "raw" / "images"}
    prepare(dataset=dataset, raw=folder / "raw", out=prepared)
    images = {"images": prepared / "images.parquet"}
    pairs = prepared / "pairs.parquet"
    extract_features(
        encoder="detector", **images, **where, weights=folder / "weights/detector", out=folder / "features/detector"
    )
    train_teacher(
        teacher="refclip", pairs=pairs, features=folder / "features", out=folder / "refclip", curves=folder / "c.csv"
    )
    write_pseudo_labels(
        pairs=pairs, **images, features=folder / "features", teacher=folder / "refclip", out=folder / "labels"
    )
    labels = folder / "labels/labels.parquet"
    segment_boxes(
        boxes=folder / "labels/boxes.parquet", **images, **where, segmenter=folder / "weights/segmenter",
        teacher=folder / "refclip", out=labels,
    )  # fmt: skip
    list_candidates(**images, features=folder / "features/detector", out=folder / "candidates.parquet")
    check_leakage(prepared=folder / "prepared", weights=folder / "weights", out=folder / "leakage.json")
    known = {
        "candidates": folder / "candidates.parquet", "prepared": prepared,
        "leakage": folder / "leakage.json", "samples_out": folder / "samples.parquet",
    }  # fmt: skip
    evaluate(predictions=labels, card=folder / "refclip/config.json", out=folder / "metrics.json", **known)
    export(labels, to="coco", images=prepared / "images.parquet", out=folder / "coco")

    table = pd.read_parquet(pairs)
    report = read_json(folder / "metrics.json", made_by="evaluate")
    assert set(report) - {"meta"} == set(table["split"]) - {"train"}
    assert all(report[split]["n"] == count for split, count in table["split"].value_counts().items() if split in report)
    accepted = int(pd.read_parquet(labels)["accept"].sum())
    assert len(COCO(folder / "coco/annotations.json").anns) == accepted > 0
    assert len(json.loads((folder / "coco/results.json").read_text())) == accepted

    torch.manual_seed(0)
    save_checkpoint(CSPDarkNet(BACKBONE), folder / "weights/backbone", config={})
    student, answers = folder / "students" / dataset / "refclip-simrec", folder / "answers.parquet"
    files = TrainingFiles(**images, **where, weights=folder / "weights", out=student, curves=folder / "s.csv")
    train_student(student="simrec", labels=labels, pairs=pairs, files=files)
    predict_student(
        student=student, pairs=pairs, **images, **where, segmenter=folder / "weights/segmenter", out=answers
    )
    evaluate(predictions=answers, card=student / "config.json", out=folder / "student.json", **known)
    export_model(student, to="safetensors", out=folder / "model", reports=folder)

    assert read_json(student / "config.json", made_by="train_student")["supervision"] == "refclip"
    scored = read_json(folder / "student.json", made_by="evaluate")
    assert {split: scored[split]["n"] for split in scored if split != "meta"} == {
        split: report[split]["n"] for split in report if split != "meta"
    }
    assert (folder / "model/model.safetensors").read_bytes() == (student / "model.safetensors").read_bytes()
