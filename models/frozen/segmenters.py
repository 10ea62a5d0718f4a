"""The frozen segmenter."""

from pathlib import Path

import torch

from deixis.core.records import read_json
from deixis.roles import Segmenter
from models.frozen.weights_folder import load_frozen
from models.segmenters import SEGMENTERS


def load_segmenter(weights: Path, device: torch.device) -> Segmenter:
    """The frozen segmenter; config.json may name its `kind`, and means our own small SAM where it does not."""
    kind = read_json(weights / "config.json", made_by="pretrain_segmenter").get("kind")
    made_by = {"crop_masks": "pretrain_crop_masks", None: "pretrain_segmenter"}.get(kind, "import_weights@segmenter")
    return load_frozen(SEGMENTERS, "small_sam", weights, device, role="segmenter", made_by=made_by)
