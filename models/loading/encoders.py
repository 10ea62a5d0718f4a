"""Frozen encoders from their weight folders; the folder's config.json says how to build each."""

from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from deixis.core.checkpoints import load_checkpoint
from deixis.core.frozen import freeze
from deixis.core.records import read_json
from deixis.core.registry import resolve
from deixis.roles import Detector, Expert, Segmenter
from models.detectors import DETECTORS
from models.experts import EXPERTS
from models.segmenters import SEGMENTERS


def load_detector(weights: Path, device: torch.device) -> Detector:
    """The frozen detector; config.json may name its `kind`, and means our own YOLOv3 where it does not."""
    return _load_kind(DETECTORS, "yolov3", weights, device, role="detector", made_by="pretrain_detector")


def load_expert(name: str, weights: Path, device: torch.device) -> Expert:
    """A frozen expert by its registry name; the `kind` of its config.json, where there is one, wins."""
    made_by = "pretrain_segmenter" if name == "segmentation_vit" else f"pretrain_expert@{name}"
    return _load_kind(EXPERTS, name, weights, device, role="expert", made_by=made_by)


def load_segmenter(weights: Path, device: torch.device) -> Segmenter:
    """The frozen segmenter; config.json may name its `kind`, and means our own small SAM where it does not."""
    return _load_kind(SEGMENTERS, "small_sam", weights, device, role="segmenter", made_by="pretrain_segmenter")


def _load_kind(
    registry: dict[str, str], default: str, weights: Path, device: torch.device, *, role: str, made_by: str
) -> Any:
    """Of the class that the card names, or else of the default one."""
    card = read_json(weights / "config.json", made_by=made_by)
    kind = resolve(registry, card.get("kind", default), role=role)
    model = kind(TypeAdapter(kind.Config).validate_python(card["model"]))
    load_checkpoint(model, weights, made_by=made_by)
    layout = torch.channels_last if device.type == "cuda" else torch.preserve_format
    return freeze(model.to(device, memory_format=layout))
