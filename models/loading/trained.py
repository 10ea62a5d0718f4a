"""A trained model from its checkpoint folder, whose config.json says what to build."""

from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from deixis.core.checkpoints import load_checkpoint
from deixis.core.foreign import foreign_bytes
from deixis.core.frozen import freeze
from deixis.core.records import read_json
from deixis.core.registry import resolve
from deixis.core.undrawn import Undrawn


def load_trained(folder: Path, *, role: str, registry: dict[str, str], device: torch.device) -> Any:
    """Build what the card names, load its weights strictly, freeze it."""
    path, made_by = folder / "config.json", f"train_{role}"
    card = read_json(path, made_by=made_by)
    with foreign_bytes(path, f"the card of a {role.replace('_', ' ')}", f"Run: dvc repro -f {made_by}"):
        kind = resolve(registry, card[role], role=role)
        config = TypeAdapter(kind.Config).validate_python(card["model"])
        with Undrawn():
            model = kind(config, card["vocabulary"])
    load_checkpoint(model, folder, made_by=made_by)
    return freeze(model.to(device))
