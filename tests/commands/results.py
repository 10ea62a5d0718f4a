"""A repository of Git and DVC with a few result files, as the graph writes them."""

import json
import subprocess
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
from dvc.repo import Repo
from PIL import Image

from deixis.core.records import file_sha256
from deixis.measuring.headlines import headlines
from deixis.measuring.metrics import THRESHOLD

GRAPH = """
stages:
  list_code:
    cmd: "true"
    outs: [data/code.json: {persist: true}]
  make_scenes:
    cmd: "true"
    outs: [data/raw/toy, data/prepared/toy]
  train_teacher:
    cmd: "true"
    deps: [data/raw/toy]
    params: [seed, training_seed, teachers.dvin, {data/code.json: [stages.train_teacher]}]
    outs: [data/teachers/toy/dvin]
    plots: [reports/plots/toy/dvin.csv: {cache: false, x: epoch, y: total, title: training loss}]
  evaluate_teacher:
    cmd: "true"
    deps: [data/teachers/toy/dvin]
    outs: [reports/metrics/toy/dvin.json, reports/samples/toy/dvin.parquet]
    metrics: [reports/headlines/toy/dvin.json: {cache: false}]
"""
SETTINGS = "seed: 0\ntraining_seed: 0\nteachers: {dvin: {temperature: 0.07}}\n"
CONFIG = "[core]\n    analytics = false\n    remote = there\n['remote \"there\"']\n    url = ../../remote\n"
SPEED = {"milliseconds": {"total": {"median": 12.0}}, "device": "x86_64", "threads": 2, "torch": "2.15"}
SIDE = 128


def git(folder: Path, *words: str) -> str:
    named = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *named, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def start(folder: Path) -> None:
    """An empty repository of Git and DVC."""
    git(folder, "init", "-q")
    Repo.init(str(folder)).close()
    (folder / ".dvc" / "config").write_text(CONFIG)
    (folder / ".gitignore").write_text("/data/\n/reports/metrics/\n/reports/samples/\n/comparison/\n")


def write_results(folder: Path, answers: pd.DataFrame, *, checkpoint: str = "0", code: str = "a") -> None:
    """What a run leaves behind: data, a teacher, its answers, and what is measured of them."""
    (folder / "dvc.yaml").write_text(GRAPH)
    (folder / "params.yaml").write_text(SETTINGS)
    images = folder / "data/raw/toy/images"
    images.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((SIDE, SIDE, 3), 90, np.uint8)).save(images / "0.png")
    count = int(answers["image_id"].max()) + 1
    table = {"image_id": range(count), "path": "0.png", "sha256": file_sha256(images / "0.png")}
    write(folder / "data/code.json", {"stages": {"train_teacher": code}, "modules": {"stages.train_teacher": code}})
    write(folder / "data/teachers/toy/dvin", {"sha256": checkpoint})
    write_parquet(folder / "data/prepared/toy/images.parquet", pd.DataFrame(table))
    write_parquet(folder / "reports/samples/toy/dvin.parquet", answers)
    hit = answers["iou"] > THRESHOLD
    report = {
        split: {"n": len(rows), "acc50": hit[rows.index].mean(), "miou": (rows["intersection"] / rows["union"]).mean()}
        for split, rows in answers.groupby("split")
    }
    write(folder / "reports/metrics/toy/dvin.json", report | {"meta": {"checkpoint_sha256": checkpoint}})
    write(folder / "reports/headlines/toy/dvin.json", headlines(report))
    write(folder / "reports/speed/toy/dvin.json", SPEED)
    write(folder / "reports/leakage.json", {"toy": {"val": {"detector": {"level": "none", "overlap": 0}}}})
    curves = f"epoch,total\n1,1.0\n2,0.{int(checkpoint, 16) % 9}\n"
    (folder / "reports/plots/toy").mkdir(parents=True, exist_ok=True)
    (folder / "reports/plots/toy/dvin.csv").write_text(curves)


def commit(folder: Path, message: str) -> str:
    """Lock and cache what is there, and commit; the commit's name."""
    with chdir(folder), Repo() as repo:
        repo.commit(force=True)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False)
