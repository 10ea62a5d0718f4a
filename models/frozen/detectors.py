"""The frozen detector."""

from pathlib import Path

import torch

from deixis.roles import Detector
from models.detectors import DETECTORS
from models.frozen.weights_folder import load_frozen, read_kind


def load_detector(weights: Path, device: torch.device) -> Detector:
    """The frozen detector; config.json may name its `kind`, and means our own YOLOv3 where it does not."""
    return load_frozen(DETECTORS, "yolov3", weights, device, role="detector", made_by="pretrain_detector")


def detector_side(weights: Path) -> int:
    """Pixels of a side of the square that the detector reads, without loading it."""
    return read_kind(DETECTORS, "yolov3", weights, role="detector", made_by="pretrain_detector")[1].input_size
