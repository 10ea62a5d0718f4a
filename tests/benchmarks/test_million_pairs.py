"""The benchmark of a million pairs, with three hundred: killed once, and every pair is there once."""

import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.fabricated_pairs import fabricate, write_features
from benchmarks.million_pairs import count, finished
from benchmarks.watched import watch
from commands.export import export
from deixis.labelling import labelled_parts
from deixis.labelling.asked import save_asked
from stages import write_pseudo_labels as stage
from stages.prepare import prepare
from stages.segment_boxes import segment_boxes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAIRS, IMAGES, PER_PART = 300, 30, 64
LABEL = f"""
import os, signal
from pathlib import Path
import stages.write_pseudo_labels as stage
from deixis.labelling import labelled_parts
stage.PAIRS_PER_PART = {PER_PART}
save = labelled_parts.save_asked
def save_and_die(asked, path):
    save(asked, path)
    if path.name == "000002.asked":
        os.kill(os.getpid(), signal.SIGKILL)
labelled_parts.save_asked = save_and_die
stage.write_pseudo_labels(pairs=Path("prepared/pairs.parquet"), images=Path("prepared/images.parquet"),
    features=Path("features"), teacher=Path("teacher"), out=Path("labels"), params=Path("params.yaml"), device="cpu")
"""


def test_a_killed_labelling_goes_on_and_no_pair_is_missing_or_doubled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "PAIRS_PER_PART", PER_PART)
    fabricate(tmp_path, pairs=PAIRS, images=IMAGES)
    images, params = Path("prepared/images.parquet"), Path("params.yaml")
    prepare(dataset="fabricated", raw=Path("raw"), out=Path("prepared"), params=params)
    write_features(images, Path("features"))
    killed = subprocess.run([sys.executable, "-c", LABEL], env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    assert killed.returncode == -signal.SIGKILL
    assert sorted(path.name for path in finished(tmp_path)) == [f"00000{part}.asked" for part in range(3)]
    asked: list[str] = []
    monkeypatch.setattr(labelled_parts, "save_asked", lambda it, path: asked.append(path.name) or save_asked(it, path))
    stage.write_pseudo_labels(
        pairs=Path("prepared/pairs.parquet"), images=images, features=Path("features"), teacher=Path("teacher"),
        out=Path("labels"), params=params, device="cpu",
    )  # fmt: skip
    assert asked == ["000003.asked", "000004.asked"] and not finished(tmp_path)

    segment_boxes(
        boxes=Path("labels/boxes.parquet"), images=images, image_root=Path("raw/images"), segmenter=Path("none"),
        teacher=Path("teacher"), out=Path("labels/labels.parquet"), params=params,
    )  # fmt: skip
    export(Path("labels/labels.parquet"), to="parquet", images=images, out=Path("export-parquet"), everything=True)
    counted = count(tmp_path)
    assert counted.pop("pairs") == PAIRS and len(counted) == 6 and not any(counted.values())


def test_pairs_that_are_missing_or_there_twice_are_counted(tmp_path):
    tables = {"prepared/pairs": ["a", "b", "c"], "labels/labels": ["a", "a", "d"], "export-parquet/labels": ["c"] * 3}
    for name, ids in tables.items():
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pd.DataFrame({"sample_id": ids}).to_parquet(path)
    assert count(tmp_path) == {
        "pairs": 3, "labels_missing": 2, "labels_twice": 1, "labels_unknown": 1, "export_missing": 2,
        "export_twice": 2, "export_unknown": 0,
    }  # fmt: skip


def test_a_watched_command_says_its_memory_and_dies_when_told(tmp_path):
    (one,) = watch(["timeit", "-n1", "-r1", "import time; time.sleep(0.5)"], folder=tmp_path)
    assert one.process.returncode == 0 and one.resident_bytes > one.own_bytes > 1 << 20
    (killed,) = watch(["http.server", "0"], folder=tmp_path, until=lambda: True)
    assert killed.process.returncode == -signal.SIGKILL
