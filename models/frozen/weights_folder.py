"""A frozen model from its folder of weights, whose config.json says how to build it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from deixis.core.checkpoints import load_checkpoint
from deixis.core.foreign import foreign_bytes
from deixis.core.frozen import freeze
from deixis.core.records import read_json
from deixis.core.registry import resolve


def read_kind(registry: Mapping[str, str], default: str, weights: Path, *, role: str, made_by: str) -> tuple[Any, Any]:
    """The class that the card's `kind` names, or else the default one, and its configuration."""
    path = weights / "config.json"
    card = read_json(path, made_by=made_by)
    with foreign_bytes(path, f"the card of a frozen {role}", f"Run: dvc repro -f {made_by}"):
        kind = resolve(registry, card.get("kind", default), role=role)
        return kind, TypeAdapter(kind.Config).validate_python(card["model"])


def load_frozen(
    registry: Mapping[str, str], default: str, weights: Path, device: torch.device, *, role: str, made_by: str
) -> Any:
    """A model of that class with its weights, frozen."""
    kind, config = read_kind(registry, default, weights, role=role, made_by=made_by)
    with foreign_bytes(weights / "config.json", f"the card of a frozen {role}", f"Run: dvc repro -f {made_by}"):
        model = kind(config)
    load_checkpoint(model, weights, made_by=made_by)
    layout = torch.channels_last if device.type == "cuda" else torch.preserve_format
    return freeze(model.to(device, memory_format=layout))
