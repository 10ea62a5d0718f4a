"""A released file as its training script writes it, imported as a user imports it."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.releases.importing import Report, import_release
from tests.models.releases.layouts import ANNOTATIONS


def write_checkpoint(state: dict[str, Tensor], path: Path, *, inside: str = "state_dict") -> Path:
    """Tensors as they are saved beside an optimiser's state."""
    optimiser = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    torch.save({"epoch": 25, inside: state, "optimizer": optimiser, "scheduler": {"lr_lambdas": [None]}}, path)
    return path


def write_annotations(path: Path) -> Path:
    path.write_text(json.dumps(ANNOTATIONS))
    return path


def import_state(name: str, state: dict[str, Tensor], folder: Path, **options: Any) -> tuple[Path, Report]:
    """The folder of the imported checkpoint, and what the import said of it."""
    file = write_checkpoint(state, folder / f"{name}.pth", inside=options.pop("inside", "state_dict"))
    tokens = options.pop("tokens", None) or write_annotations(folder / "annotations.json")
    report = import_release(name, file, folder / "imported", tokens=tokens, **options)
    return folder / "imported", report
