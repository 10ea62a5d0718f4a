"""Frozen experts."""

from pathlib import Path

import torch

from deixis.roles import Expert
from models.experts import EXPERTS
from models.frozen.weights_folder import load_frozen


def load_expert(name: str, weights: Path, device: torch.device) -> Expert:
    """A frozen expert by its registry name; the `kind` of its config.json, where there is one, wins."""
    made_by = "pretrain_segmenter" if name == "segmentation_vit" else f"pretrain_expert@{name}"
    return load_frozen(EXPERTS, name, weights, device, role="expert", made_by=made_by)
