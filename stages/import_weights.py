"""Turn the file of one published model into a folder of frozen weights, after its checksum was verified.

reads   the published file (data/published, or $DEIXIS_WEIGHTS) and its card in models/cards; params: imports.<name>
writes  model.safetensors and config.json, which names the card; of word vectors the file as it is
run     dvc repro import_weights@detector
"""

from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from models.frozen.importing import import_published


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
    import_published(entry.card, out, role=entry.role, settings=entry.settings)


if __name__ == "__main__":
    run_stage(import_weights)
