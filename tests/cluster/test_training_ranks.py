"""A student trained over two processes by Ray: after a kill it ends with the bits of a training that none disturbed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.contracts.test_roles import write_starts
from tests.factories import write_params

pytest.importorskip("ray", reason="Ray comes with an extra: uv run --extra cluster pytest tests/cluster")

ROOT = Path(__file__).parents[2]
IMAGES, SECONDS = 24, 240
ARGUMENTS = [
    "stages.train_student", "--student", "simrec", "--labels", "labels.parquet", "--pairs", "pairs.parquet", "--images",
    "images.parquet", "--image-root", ".", "--weights", "weights", "--out", "out", "--curves", "curves.csv",
    "--device", "cpu",
]  # fmt: skip


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Images of noise with a label each, and a fresh backbone."""
    folder, rng = tmp_path / "checkout", np.random.default_rng(0)
    folder.mkdir()
    numbers = range(IMAGES)
    for number in numbers:
        Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    images = {"image_id": numbers, "path": [f"{number}.png" for number in numbers], "width": 128, "height": 96}
    pd.DataFrame(images).to_parquet(folder / "images.parquet")
    ids = [str(number) for number in numbers]
    texts = [("red ball", "left red ball", "big star")[number % 3] for number in numbers]
    pairs = {"sample_id": ids, "image_id": numbers, "expression": texts, "text": texts, "split": "train"}
    pd.DataFrame(pairs).to_parquet(folder / "pairs.parquet")
    boxes = [[5.0 + number, 10.0, 45.0 + number, 60.0] for number in numbers]
    labels = {"sample_id": ids, "box": boxes, "mask": None, "accept": True, "teacher": "dvin"}
    pd.DataFrame(labels).to_parquet(folder / "labels.parquet")
    write_params(folder, **{"students.simrec.recipe.epochs": 8, "students.simrec.recipe.batch_size": 6})
    torch.manual_seed(0)
    write_starts(("backbone",), folder / "weights")
    return folder


def start(folder: Path, *arguments: str, address: str = "") -> subprocess.Popen[str]:
    """The command, or with an address the stage itself, as DVC starts it."""
    variables = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DEIXIS_SAVE_SECONDS": "0", "DEIXIS_CLUSTER": address}
    program = ["-m"] if address else ["-m", "pipelines.training_ranks"]
    return subprocess.Popen(
        [sys.executable, *program, *arguments], cwd=folder, env=os.environ | variables,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and output; one that does not end is killed."""
    try:
        out, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return process.returncode, out


def members(folder: Path) -> list[int]:
    """Processes of a group: they work in the folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            trains = place.joinpath("cmdline").read_bytes().startswith(b"ray::RayTrainWorker")
            if trains and place.joinpath("cwd").readlink() == folder:
                found.append(int(place.name))
        except OSError:
            pass  # it has ended
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_killed_process_costs_no_bit(checkout, tmp_path):
    disturbed = tmp_path / "disturbed"
    shutil.copytree(checkout, disturbed)
    (checkout / "dvc.yaml").write_text("stages: {a: {cmd: python -m stages.train_student, meta: {ranks: 2}}}")
    code, said = end(start(checkout, *ARGUMENTS, address="local"))
    assert code == 0, said
    process, deadline = start(disturbed, "--ranks", "2", *ARGUMENTS), time.monotonic() + SECONDS
    while not list(disturbed.glob("scratch/train_student/*-2-ranks/state.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline, "no state was saved"
        time.sleep(0.02)
    os.kill(max(members(disturbed)), signal.SIGKILL)
    code, said = end(process)
    assert code == 0, said
    assert re.search(r"resuming after epoch \d", said), said
    straight, resumed = (load_file(folder / "out" / "model.safetensors") for folder in (checkout, disturbed))
    assert [name for name in straight if not torch.equal(straight[name], resumed[name])] == []
    assert (checkout / "curves.csv").read_bytes() == (disturbed / "curves.csv").read_bytes()
    assert json.loads((disturbed / "out" / "config.json").read_text())["training"]["ranks"] == 2


def test_what_a_stage_refuses_ends_it_with_its_code_and_one_message(checkout):
    (checkout / "labels.parquet").unlink()
    code, said = end(start(checkout, "--ranks", "2", *ARGUMENTS))
    assert code == 65, said
    assert re.search(r"^error: labels\.parquet.*", said, re.MULTILINE), said
    assert "Traceback" not in said


def test_what_one_process_refuses_ends_both(checkout):
    (checkout / "23.png").write_bytes(b"no image")  # only one of them reads it in the first step
    code, said = end(start(checkout, "--ranks", "2", *ARGUMENTS))
    assert code == 65, said
    assert re.search(r"^error: .*23\.png.*", said, re.MULTILINE), said


def test_any_other_error_is_told_and_not_tried_again(checkout):
    (checkout / "out").touch()  # in the way of the folder that only the first process writes
    code, said = end(start(checkout, "--ranks", "2", *ARGUMENTS))
    assert code == 1 and "Traceback" in said, said
    assert re.search(r"^error: FileExistsError: ", said, re.MULTILINE), said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ranks", "2", "stages.evaluate"], r"^error: stages\.evaluate is no stage that several processes share"),
        (["--ranks", "0", "stages.train_student"], r"^error: --ranks 0 --cpus 1\. Allowed: one or more"),
    ],
)
def test_what_cannot_be_is_refused(checkout, arguments, message):
    code, said = end(start(checkout, *arguments))
    assert code == 2 and re.search(message, said, re.MULTILINE), said
