"""Frozen encoders from their weight folders; the folder's config.json says how to build each."""

from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

from deixis.core.checkpoints import load_checkpoint
from deixis.core.frozen import freeze
from deixis.core.records import read_json
from deixis.core.registry import resolve
from models.detectors import DETECTORS
from models.experts import EXPERTS
from models.segmenters import SEGMENTERS


def load_detector(weights: Path, device: torch.device) -> Any:
    """The frozen detector; config.json may name its `kind`, and means our own YOLOv3 where it does not."""
    kind, config = _read_detector(weights)
    return _load(kind(config), weights, device, made_by="pretrain_detector")


def detector_side(weights: Path) -> int:
    """Pixels of a side of the square that the detector reads."""
    return _read_detector(weights)[1].input_size


def _read_detector(weights: Path) -> tuple[Any, Any]:
    card = read_json(weights / "config.json", made_by="pretrain_detector")
    kind = resolve(DETECTORS, card.get("kind", "yolov3"), role="detector")
    return kind, _model_config(weights, kind.Config, made_by="pretrain_detector")


def load_expert(name: str, weights: Path, device: torch.device) -> Any:
    """A frozen expert by its registry name; the `kind` of its config.json, where there is one, wins."""
    made_by = "pretrain_segmenter" if name == "segmentation_vit" else f"pretrain_expert@{name}"
    return _load_kind(EXPERTS, name, weights, device, role="expert", made_by=made_by)


def load_segmenter(name: str, weights: Path, device: torch.device) -> Any:
    """A frozen segmenter by its registry name; the `kind` of its config.json, where there is one, wins."""
    return _load_kind(SEGMENTERS, name, weights, device, role="segmenter", made_by="pretrain_segmenter")


def _load_kind(
    registry: dict[str, str], name: str, weights: Path, device: torch.device, *, role: str, made_by: str
) -> Any:
    card = read_json(weights / "config.json", made_by=made_by)
    kind = resolve(registry, card.get("kind", name), role=role)
    return _load(kind(TypeAdapter(kind.Config).validate_python(card["model"])), weights, device, made_by=made_by)


def _model_config(weights: Path, kind: Any, *, made_by: str) -> Any:
    return TypeAdapter(kind).validate_python(read_json(weights / "config.json", made_by=made_by)["model"])


def _load(model: Any, weights: Path, device: torch.device, *, made_by: str) -> Any:
    load_checkpoint(model, weights, made_by=made_by)
    layout = torch.channels_last if device.type == "cuda" else torch.preserve_format
    assert isinstance(model, nn.Module)
    return freeze(model.to(device, memory_format=layout))
