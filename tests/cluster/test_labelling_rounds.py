"""Labelling shared by several workers, round by round: the labels of one process, byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.conftest import NO_RAY, ROOT, end_of

pytest.importorskip("ray", reason=NO_RAY)

PAIRS, IMAGES, ROUNDS = 300, 30, 3
GRAPH = "stages: {label: {cmd: python -m label_in_small_parts, meta: {cpus: 1, pieces: 3}}}"


@pytest.fixture
def fabricated(checkout, monkeypatch) -> Path:
    """The checkout with a prepared set, its features and a teacher."""
    from benchmarks.fabricated_pairs import fabricate, write_features
    from stages.prepare import prepare

    monkeypatch.chdir(checkout)
    (checkout / "dvc.yaml").write_text(GRAPH)
    fabricate(checkout, pairs=PAIRS, images=IMAGES)
    prepare(dataset="fabricated", raw=Path("raw"), out=Path("prepared"), params=Path("params.yaml"))
    write_features(Path("prepared/images.parquet"), Path("features"))
    return checkout


def label(out: str) -> list[str]:
    """The program and its options."""
    files = ["--pairs", "prepared/pairs.parquet", "--images", "prepared/images.parquet", "--features", "features"]
    return ["label_in_small_parts", *files, "--teacher", "teacher", "--out", out, "--device", "cpu"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("workers", [2, 3])
def test_every_round_is_shared_and_the_labels_are_those_of_one_process(fabricated, start, workers):
    alone = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", *label("alone")], cwd=fabricated, env=alone, check=True)
    code, _, err = end_of(start(*label("shared"), DEIXIS_PIECES=str(workers)))
    assert code == 0, err
    assert err.count(f"of {workers} is done") == ROUNDS * workers
    assert contents(fabricated / "shared") == contents(fabricated / "alone")
    assert len(contents(fabricated / "alone")) == 3
    assert not list((fabricated / "scratch/write_pseudo_labels").glob("*"))
