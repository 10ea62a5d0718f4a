"""A released file as its training script writes it, imported as a user imports it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from models.releases.importing import Report, import_release
from stages.evaluate import evaluate
from tests.models.releases.layouts import ANNOTATIONS


def write_checkpoint(state: dict[str, Tensor], path: Path, *, inside: str = "state_dict", **beside: Any) -> Path:
    """Tensors as they are saved beside an optimiser's state and, in some releases, other things."""
    optimiser = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    torch.save({"epoch": 25, inside: state, "optimizer": optimiser, "scheduler": {"lr_lambdas": [None]}} | beside, path)
    return path


def write_annotations(path: Path) -> Path:
    path.write_text(json.dumps(ANNOTATIONS))
    return path


def import_state(
    name: str,
    state: dict[str, Tensor],
    folder: Path,
    *,
    tokens: Path | None = None,
    weights: Path | None = None,
    settings: Sequence[str] = (),
    **saved: Any,
) -> tuple[Path, Report]:
    """The folder of the imported checkpoint, and what the import said of it; `saved` is of `write_checkpoint`."""
    file = write_checkpoint(state, folder / f"{name}.pth", **saved)
    tokens = tokens or write_annotations(folder / "annotations.json")
    report = import_release(name, file, folder / "imported", tokens=tokens, weights=weights, settings=settings)
    return folder / "imported", report


def score_as_right(predictions: Path, world: Path, card: Path, folder: Path) -> dict[str, Any]:
    """The metrics file of answers about the small world, where each that has a box is the truth."""
    (folder / "toy").mkdir()
    for name in ("pairs", "images"):
        (folder / f"toy/{name}.parquet").symlink_to(world / f"data/prepared/toy/{name}.parquet")
    truth = pd.read_parquet(predictions)[["sample_id", "box"]].assign(mask=None)
    truth["box"] = [[0.0, 0.0, 9.0, 9.0] if box is None else box for box in truth["box"]]
    truth.to_parquet(folder / "toy/truth.parquet")
    (folder / "params.yaml").write_text("seed: 0\nevaluation: {resamples: 10}\n")
    seen_nothing = {"toy": {"val": {"detector": {"level": "none", "overlap": None}}}}
    (folder / "leakage.json").write_text(json.dumps(seen_nothing))
    evaluate(
        predictions=predictions, candidates=world / "data/candidates/toy/detections.parquet", card=card,
        prepared=folder / "toy", leakage=folder / "leakage.json", out=folder / "metrics.json",
        samples_out=folder / "samples.parquet", params=folder / "params.yaml",
    )  # fmt: skip
    return json.loads((folder / "metrics.json").read_text())
