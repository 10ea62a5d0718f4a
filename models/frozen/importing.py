"""One published model's file to a folder of frozen weights, after its checksum was verified."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import DataError
from deixis.core.records import file_sha256, write_json
from deixis.core.registry import resolve
from deixis.core.undrawn import Undrawn
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


def import_published(
    card_name: str, out: Path, *, role: str | None = None, settings: Mapping[str, Any] | None = None
) -> None:
    """Write model.safetensors and config.json, which names the card; of word vectors the file as it is.

    Args:
        card_name: Of models/cards.
        role: Where another than the card's is wanted: `mask_head` of a detector.
        settings: Of the class that reads the file, such as input_size.

    Raises:
        DataError: If the file is missing, not the published one, or of another architecture or other classes.
        ConfigError: If there is no such card.
    """
    card = find_card(card_name)
    role = role or card.role
    path = resolve_weights(card.name)
    facts: dict[str, Any] = {"kind": card.kind, "card": card.name}
    if role == "vectors":  # each training reads the words of its own phrases
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / path.name)
        write_json(facts | {"file": path.name, "sha256": file_sha256(path)}, out / "config.json")
        return
    kind = resolve(REGISTRIES[role], card.kind, role=role.replace("_", " "))
    config, tensors = kind.read_published(path, **(settings or {}))
    vocabulary = {"vocabulary": kind.read_vocabulary(path)} if role == "text" else {}
    if card.categories and len(card.categories) != config.num_classes:
        raise DataError(
            f"{path}: has {config.num_classes} classes, and its card {card.name} names {len(card.categories)}. It is "
            f"another model's file. Fetch the card's: deixis weights fetch {card.name}"
        )
    facts |= {"categories": list(card.categories)} if card.categories else {}
    facts |= {"domain": {"name": card.domain}} if card.domain else {}
    with Undrawn():
        model = kind(config, *vocabulary.values())
    model.load_state_dict(tensors, strict=True)
    save_checkpoint(model, out, config=facts | {"model": asdict(config)} | vocabulary)
