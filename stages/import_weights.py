"""Turn the file of one published model into a folder of frozen weights, after its checksum was verified.

reads   the published file (data/published, or $DEIXIS_WEIGHTS) and its card in models/cards; params: imports.<name>
writes  model.safetensors and config.json, which names the card; of word vectors the file as it is
run     dvc repro import_weights@detector
"""

import shutil
from dataclasses import asdict, field
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from deixis.core.checkpoints import save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.errors import DataError
from deixis.core.records import file_sha256, write_json
from deixis.core.registry import resolve
from deixis.weights.cards import find_card
from deixis.weights.locate import resolve_weights
from models.backbones import BACKBONES
from models.detectors import DETECTORS, MASK_HEADS
from models.experts import EXPERTS
from models.segmenters import SEGMENTERS
from models.text import TEXTS

REGISTRIES = {
    "detector": DETECTORS, "mask_head": MASK_HEADS, "expert": EXPERTS, "segmenter": SEGMENTERS, "backbone": BACKBONES,
    "text": TEXTS,
}  # fmt: skip


@dataclass(frozen=True, config=STRICT)
class ImportParams:
    """One entry of `imports`."""

    card: str  # of models/cards
    file: str  # what the graph watches; the card's own file is what is read
    role: Literal["mask_head"] | None = None  # where that of a detector is wanted; else what the card says
    settings: dict[str, Any] = field(default_factory=dict)  # of the class that reads it, such as input_size


def import_weights(*, name: str, out: Path, params: Path = Path("params.yaml")) -> None:
    """Import one published model."""
    entry = read_section(params, f"imports.{name}", ImportParams)
    card = find_card(entry.card)
    role = entry.role or card.role
    path = resolve_weights(card.name)
    facts: dict[str, Any] = {"kind": card.kind, "card": card.name}
    if role == "vectors":  # each training reads the words of its own phrases
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / path.name)
        write_json(facts | {"file": path.name, "sha256": file_sha256(path)}, out / "config.json")
        return
    kind = resolve(REGISTRIES[role], card.kind, role=role.replace("_", " "))
    config, tensors = kind.read_published(path, **entry.settings)
    vocabulary = {"vocabulary": kind.read_vocabulary(path)} if role == "text" else {}
    if card.categories and len(card.categories) != config.num_classes:
        raise DataError(
            f"{path}: has {config.num_classes} classes, and its card {card.name} names {len(card.categories)}. It is "
            f"another model's file. Fetch the card's: deixis weights fetch {card.name}"
        )
    facts |= {"categories": list(card.categories)} if card.categories else {}
    model = kind(config, *vocabulary.values())
    model.load_state_dict(tensors, strict=True)
    save_checkpoint(model, out, config=facts | {"model": asdict(config)} | vocabulary)


if __name__ == "__main__":
    run_stage(import_weights)
