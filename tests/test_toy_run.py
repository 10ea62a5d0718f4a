"""The whole graph on a handful of images: real DVC, real Prefect server, killed on the way, no network."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cyclopts import App
from ruamel.yaml import YAML

from commands.label import label
from commands.predict import predict
from deixis.imaging.masks import encode_mask
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
CANDIDATES = "data/candidates/scenes_plus/detections.parquet"
PREDICTORS = ("refclip", "dvin", "dvin-simrec", "dvin-transvg", "truth-simrec")


def shrink(params: dict[str, Any]) -> None:
    """The same graph, one dataset, one epoch, a few dozen images."""
    for part in ("scenes", "datasets", "reference_datasets"):
        params["run"][part] = ["scenes_plus"]
    params["run"]["upper_bounds"] = ["simrec"]
    params["run"]["references"] = ["truth-simrec"]
    params["pretraining"]["images"] = 32
    params["scenes"]["scenes_plus"]["images"] = {"train": 32, "val": 8, "testA": 6, "testB": 6}
    params["detector"]["rigid_epochs"] = 0
    params["teachers"]["weakmcn"]["model"] |= {"warm_epochs": 0, "suppress_from_epoch": 0}
    params["evaluation"]["resamples"] = 20
    params["speed"] = {"phrases": 2, "warmup": 1}
    sections = [params["detector"], params["segmenter"], params["backbone"]]
    params["proposals"] |= {"points_per_side": 2, "min_quality": 0.0, "min_stability": 0.0, "min_area": 1}
    for group in ("mask_heads", "experts", "teachers", "map_teachers", "students"):
        sections += params[group].values()
    for section in sections:
        section["recipe"] = dict(section["recipe"]) | {"epochs": 1, "batch_size": 8}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "deixis"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    params = yaml.load(folder / "params.yaml")
    shrink(params)
    yaml.dump(params, folder / "params.yaml")
    for command in (["git", "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(command, cwd=folder, check=True)
    return folder


def start(checkout: Path, *command: str) -> subprocess.Popen[str]:
    home = checkout.parent / "prefect"
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
        "OMP_NUM_THREADS": "1",  # stages run side by side
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    environment.pop("PYTHONPATH", None)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # some sixty processes: the copy is compiled once
    return subprocess.Popen(
        [sys.executable, "-m", *command], cwd=checkout, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def children_in(checkout: Path) -> list[str]:
    """Command lines of stage and DVC processes that work in the checkout."""
    below = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
            inside = (process / "cwd").resolve().is_relative_to(checkout)
        except OSError:
            continue  # it ended meanwhile
        if inside and any(word.startswith("stages.") or word == "dvc" for word in words):
            below.append(" ".join(words))
    return below


@pytest.fixture(scope="module")
def rebuilt(checkout) -> str:
    """Output of the flow that finishes the graph, after one cancelled flow and one killed `dvc repro`."""
    flow = start(checkout, "pipelines.rebuild")
    wait_until(lambda: any("stages." in line for line in children_in(checkout)), seconds=120)
    flow.send_signal(signal.SIGTERM)
    flow.communicate(timeout=60)
    assert flow.returncode != 0
    wait_until(lambda: not children_in(checkout), seconds=15)

    plain = start(checkout, "dvc", "repro")
    wait_until(lambda: any("pretrain" in line for line in children_in(checkout)), seconds=120)
    os.killpg(plain.pid, signal.SIGKILL)
    plain.communicate(timeout=30)

    flow = start(checkout, "pipelines.rebuild", "--workers", "2")
    output, _ = flow.communicate(timeout=600)
    assert flow.returncode == 0, output[-4000:]
    return output


@pytest.mark.slow
def test_the_flow_tells_what_it_did(rebuilt):
    actions = [line.split() for line in rebuilt.splitlines() if line.startswith(("ran ", "skipped ", "restored "))]
    done = {name: action for action, name in actions}
    assert done["build_report"] == "ran"
    assert "train_student@scenes_plus-dvin-transvg" in done
    assert {"ran", "skipped"} >= set(done.values())


@pytest.mark.slow
def test_a_second_repro_runs_nothing(checkout, rebuilt):
    output, _ = start(checkout, "dvc", "repro").communicate(timeout=120)
    assert "Data and pipelines are up to date." in output
    assert "Running stage" not in output


@pytest.mark.slow
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_metrics_keep_their_contract(checkout, rebuilt, predictor):
    report = json.loads((checkout / "reports/metrics/scenes_plus" / f"{predictor}.json").read_text())
    assert set(report) == {"val", "testA", "testB", "meta"}
    for split in ("val", "testA", "testB"):
        part = report[split]
        for name in ("acc50", "miou_box", "miou", "oiou", "p70", "p90", "point_in_mask"):
            assert 0 <= part[f"{name}_lo"] <= part[name] <= part[f"{name}_hi"] <= 1
        assert {"n", "floor_random", "floor_confident", "floor_whole", "ceiling", "groups"} <= part.keys()
    assert {"selection", "supervision", "seed", "num_parameters", "effective_ema_decay"} <= report["meta"].keys()
    samples = pd.read_parquet(checkout / "reports/samples/scenes_plus" / f"{predictor}.parquet")
    val = samples[samples["split"] == "val"]
    assert report["val"]["n"] == len(val)
    assert report["val"]["acc50"] == pytest.approx((val["iou"] > 0.5).mean(), abs=1e-6)


@pytest.mark.slow
def test_labels_are_the_product_and_hold_no_truth(checkout, rebuilt):
    labels = pd.read_parquet(checkout / "data/labels/scenes_plus/dvin/labels.parquet")
    columns = {
        "sample_id", "image_id", "expression", "box", "mask", "score", "margin", "runner_up", "accept", "reason",
        "teacher", "checkpoint_sha256", "config_sha256", "schema_version",
    }  # fmt: skip
    assert columns <= set(labels.columns)
    assert not [column for column in labels if "true" in column or "truth" in column]
    pairs = pd.read_parquet(checkout / "data/prepared/scenes_plus/pairs.parquet")
    assert set(labels["sample_id"]) == set(pairs["sample_id"])


def run_stage(checkout: Path, stage: str, **options: str) -> None:
    """By its command line, in this process: torch is loaded already."""
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    app = App()
    app.default(getattr(import_module(f"stages.{stage}"), stage))
    with contextlib.chdir(checkout):
        command, bound, _ = app.parse_args(words, exit_on_error=False)
        command(*bound.args, **bound.kwargs)


@pytest.mark.slow
def test_a_teacher_of_masks_learns_labels_and_is_scored(checkout, rebuilt):
    prepared, features, out = "data/prepared/scenes_plus", "data/features/scenes_plus", "data/toy/weakmcn"
    images = {"images": f"{prepared}/images.parquet", "image_root": "data/raw/scenes_plus/images"}
    pairs, segmenter = f"{prepared}/pairs.parquet", "data/weights/embedded/segmenter"
    run_stage(
        checkout, "segment_candidates", **images, features=f"{features}/detector", segmenter=segmenter,
        out=f"{features}/box_masks",
    )  # fmt: skip
    run_stage(
        checkout, "train_teacher", teacher="weakmcn", pairs=pairs, features=features, out=out, curves=f"{out}.csv"
    )
    run_stage(
        checkout, "write_pseudo_labels", pairs=pairs, images=images["images"], features=features, teacher=out, out=out
    )
    run_stage(
        checkout, "segment_boxes", **images, boxes=f"{out}/boxes.parquet", segmenter=segmenter, teacher=out,
        out=f"{out}/labels.parquet",
    )  # fmt: skip
    run_stage(
        checkout, "evaluate", predictions=f"{out}/labels.parquet", candidates=CANDIDATES,
        card=f"{out}/config.json", prepared=prepared, leakage="reports/leakage.json", out=f"{out}/metrics.json",
        samples_out=f"{out}/samples.parquet",
    )  # fmt: skip
    labels = pd.read_parquet(checkout / out / "labels.parquet")
    assert set(labels["mask_source"]) == {"teacher"} and labels["prompted_mask"].notna().any()
    assert {"miou", "miou_prompted", "inconsistency"} <= json.loads((checkout / out / "metrics.json").read_text())[
        "val"
    ].keys()


@pytest.mark.slow
def test_the_detector_draws_the_masks_of_a_teachers_labels(checkout, rebuilt):
    prepared, weights, out = "data/prepared/scenes_plus", "data/weights/embedded", "data/toy/dvin-res"
    images, masks, labels = f"{prepared}/images.parquet", f"{out}/masks.parquet", f"{out}/labels.parquet"
    run_stage(
        checkout, "pretrain_mask_head", pretraining="data/raw/pretraining", detector=f"{weights}/detector",
        out=f"{out}/head",
    )  # fmt: skip
    run_stage(
        checkout, "draw_candidates", images=images, features="data/features/scenes_plus/detector",
        candidates=CANDIDATES, head=f"{out}/head", out=masks,
    )  # fmt: skip
    run_stage(
        checkout, "label_with_detector_masks", labels="data/labels/scenes_plus/dvin/labels.parquet",
        candidates=CANDIDATES, masks=masks, card="data/teachers/scenes_plus/dvin/config.json", out=labels,
    )  # fmt: skip
    run_stage(
        checkout, "evaluate", predictions=labels, candidates=CANDIDATES,
        card="data/teachers/scenes_plus/dvin/config.json", prepared=prepared, leakage="reports/leakage.json",
        out=f"{out}/metrics.json",
        samples_out=f"{out}/samples.parquet",
    )  # fmt: skip
    assert json.loads((checkout / out / "head/config.json").read_text())["labels"] == "mask"
    assert set(pd.read_parquet(checkout / labels)["mask_source"]) == {"detector"}
    report = json.loads((checkout / out / "metrics.json").read_text())["val"]
    prompted = json.loads((checkout / "reports/metrics/scenes_plus/dvin.json").read_text())["val"]
    assert 0 <= report["miou"] <= 1
    assert (report["miou_prompted"], report["acc50"]) == (prompted["miou"], prompted["acc50"])


@pytest.mark.slow
def test_teachers_of_response_maps_learn_label_and_are_scored(checkout, rebuilt):
    prepared, out = "data/prepared/scenes_plus", "data/toy/pcnet"
    images = {"images": f"{prepared}/images.parquet", "image_root": "data/raw/scenes_plus/images"}
    pairs, weights = f"{prepared}/pairs.parquet", "data/weights/embedded"
    run_stage(checkout, "write_cues", dataset="scenes_plus", pairs=pairs, out="data/toy/cues")
    run_stage(checkout, "propose_masks", **images, segmenter=f"{weights}/segmenter", out="data/toy/proposals")
    given = {"cues": "data/toy/cues/cues.jsonl", "proposals": "data/toy/proposals"}
    run_stage(
        checkout, "train_map_teacher", **images, **given, teacher="pcnet", pairs=pairs, weights=weights, out=out,
        curves=f"{out}.csv",
    )  # fmt: skip
    run_stage(
        checkout, "write_map_labels", **images, **given, pairs=pairs, weights=weights, teacher=out,
        out=f"{out}/labels.parquet",
    )  # fmt: skip
    run_stage(
        checkout, "evaluate", predictions=f"{out}/labels.parquet", candidates=CANDIDATES, card=f"{out}/config.json",
        prepared=prepared, leakage="reports/leakage.json", out=f"{out}/metrics.json",
        samples_out=f"{out}/samples.parquet",
    )  # fmt: skip
    report = json.loads((checkout / out / "metrics.json").read_text())
    assert {"miou", "miou_map", "miou_proposal", "point_in_mask", "acc50_any", "acc50_map_box", "coverage"} <= report[
        "val"
    ].keys()
    assert report["meta"]["supervision"] == "image-phrase pairs, grouped by object"
    assert report["meta"]["cue_fallbacks"] == 0
    labels = pd.read_parquet(checkout / out / "labels.parquet")
    accepted = labels[labels["accept"]]
    assert accepted["box"].notna().all() and accepted["mask"].notna().all()
    assert not [column for column in labels if "true" in column or "truth" in column]


def with_filled_boxes(checkout: Path, labels: str) -> str:
    """The same labels, each with its box for a mask: the toy's segmenter draws none that a student may learn."""
    table = pd.read_parquet(checkout / labels)
    for row, (box, rle) in enumerate(zip(table["box"], table["mask"], strict=True)):
        mask = np.zeros(rle["size"], bool)
        left, top, right, bottom = np.rint(box).astype(int).clip(0)
        mask[top:bottom, left:right] = True
        table.at[row, "mask"] = encode_mask(mask)
    table.to_parquet(checkout / "data/toy/filled.parquet")
    return "data/toy/filled.parquet"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("student", "drawn_by"),
    [("realgin", "segmenter"), ("mattnet", "segmenter"), ("mcn", "student"), ("tris", "student")],
)
def test_other_students_learn_from_the_same_labels(checkout, rebuilt, student, drawn_by):
    prepared, out = "data/prepared/scenes_plus", f"data/toy/{student}"
    labels = "data/labels/scenes_plus/dvin/labels.parquet"
    (checkout / "data/toy").mkdir(exist_ok=True)
    if drawn_by == "student":
        labels = with_filled_boxes(checkout, labels)
    common = {
        "pairs": f"{prepared}/pairs.parquet",
        "images": f"{prepared}/images.parquet",
        "image_root": "data/raw/scenes_plus/images",
        "candidates": CANDIDATES,
    }
    run_stage(
        checkout, "train_student", **common, student=student, labels=labels,
        weights="data/weights/embedded", out=out, curves=f"{out}.csv",
    )  # fmt: skip
    run_stage(
        checkout, "predict_student", **common, student=out, segmenter="data/weights/embedded/segmenter",
        out=f"{out}.parquet",
    )  # fmt: skip
    answers = pd.read_parquet(checkout / f"{out}.parquet")
    assert set(answers["mask_source"]) == {drawn_by}


@pytest.mark.slow
def test_training_and_labelling_never_open_truth(checkout, rebuilt):
    """With truth out of the way, a teacher, its labels and a student come out the same, byte for byte."""
    truth = checkout / "data/prepared/scenes_plus/truth.parquet"
    stages = (
        "train_teacher@scenes_plus-dvin",
        "write_pseudo_labels@scenes_plus-dvin",
        "train_student@scenes_plus-dvin-simrec",
    )
    graph = YAML(typ="safe").load(checkout / "dvc.lock")["stages"]
    before = [graph[stage]["outs"][0]["md5"] for stage in stages]
    truth.rename(truth.with_suffix(".away"))
    try:
        process = start(checkout, "dvc", "repro", "-s", "-f", "--no-run-cache", *stages)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    finally:
        truth.with_suffix(".away").rename(truth)
    graph = YAML(typ="safe").load(checkout / "dvc.lock")["stages"]
    assert [graph[stage]["outs"][0]["md5"] for stage in stages] == before


@pytest.mark.slow
def test_the_report_stands_alone(checkout, rebuilt):
    page = (checkout / "reports/report.html").read_text()
    assert "scenes_plus" in page
    assert all(name in page for name in PREDICTORS)
    assert page.count("data:image/jpeg;base64,") >= 8
    assert "<svg" in page
    assert 'src="http' not in page and 'href="http' not in page
    assert (checkout / "reports/tables/results.md").read_text().startswith("# Results")


@pytest.mark.slow
def test_dvc_shows_the_headlines_within_a_screen(checkout, rebuilt):
    output, _ = start(checkout, "dvc", "metrics", "show").communicate(timeout=60)
    lines = [line for line in output.splitlines() if "acc50" in line or line.startswith("reports/")]
    names = (*PREDICTORS, "segmenter")
    assert {line.split()[0] for line in lines[1:]} >= {f"reports/headlines/scenes_plus/{name}.json" for name in names}
    assert max(map(len, lines)) <= 120
    shown = json.loads((checkout / "reports/headlines/scenes_plus/dvin.json").read_text())
    whole = json.loads((checkout / "reports/metrics/scenes_plus/dvin.json").read_text())
    assert shown["acc50_testB"] == pytest.approx(whole["testB"]["acc50"], abs=1e-4)


@pytest.mark.slow
def test_the_commands_answer_as_the_stages_did(checkout, rebuilt):
    with contextlib.chdir(checkout):
        label(
            pairs=Path("data/prepared/scenes_plus"), out=Path("data/toy/relabelled"),
            model=Path("data/teachers/scenes_plus/dvin"),
        )  # fmt: skip
    columns = ["box", "mask", "accept"]
    expected = pd.read_parquet(checkout / "data/labels/scenes_plus/dvin/labels.parquet").set_index("sample_id")[columns]
    answers = (
        pd.read_parquet(checkout / "data/toy/relabelled/labels.parquet").set_index("sample_id").loc[expected.index]
    )
    np.testing.assert_allclose(np.stack(answers["box"]), np.stack(expected["box"]), atol=1e-3)
    assert answers["accept"].tolist() == expected["accept"].tolist()
    same = [one["counts"] == other["counts"] for one, other in zip(answers["mask"], expected["mask"], strict=True)]
    assert np.mean(same) > 0.95  # a pixel at the edge of a mask may turn on the last digit of its box


@pytest.mark.slow
@pytest.mark.parametrize("student", ["simrec", "transvg"])
def test_predict_answers_as_the_student_did(checkout, rebuilt, student, capsys):
    expected = pd.read_parquet(checkout / f"data/predictions/scenes_plus/dvin-{student}.parquet")
    images = pd.read_parquet(checkout / "data/prepared/scenes_plus/images.parquet").set_index("image_id")
    rows = expected[expected["image_id"] == expected["image_id"].iloc[0]]
    image = f"data/raw/scenes_plus/images/{images.loc[rows['image_id'].iloc[0], 'path']}"
    model = f"data/students/scenes_plus/dvin-{student}"
    with contextlib.chdir(checkout):
        predict(Path(image), tuple(rows["expression"]), model=Path(model))
    answers = json.loads(capsys.readouterr().out)["answers"]
    np.testing.assert_allclose([answer["box"] for answer in answers], np.stack(rows["box"]), atol=1e-3)


@pytest.mark.slow
def test_the_readmes_commands_for_own_images_can_be_copied(checkout, rebuilt):
    section = (ROOT / "README.md").read_text().split("## Use your own images and phrases")[1].split("\n## ")[0]
    blocks = [block.split("```")[0] for block in section.split("```sh\n")[1:]]
    assert len(blocks) >= 3
    for block in blocks:
        commands = block.replace("uv run ", "")  # the environment is there already
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", commands], cwd=checkout, env=os.environ | {"PATH": path}, capture_output=True, text=True,
            timeout=180,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    coco = json.loads((checkout / "my/coco/annotations.json").read_text())
    assert {image["file_name"] for image in coco["images"]} == {"cat.png", "astronaut.png"}
    assert all(annotation["bbox"][2] > 0 for annotation in coco["annotations"])
    tables = checkout / "data/prepared/mine"
    assert len(pd.read_parquet(tables / "pairs.parquet")) == 3
    assert pd.read_parquet(tables / "quarantine.parquet").empty
