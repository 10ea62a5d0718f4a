"""Cards for tests."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from deixis.weights.cards import Card, find_card


def write_card(folder: Path, *, file_name: str = "little", **change: Any) -> Card | None:
    """Write one card, `little` with the file `little.pt` unless changed; returns it where it is sound."""
    card = {
        "name": "little",
        "role": "segmenter",
        "kind": "sam",
        "source": "https://example.org/little",
        "licence": "MIT",
        "files": [{"name": "little.pt", "sha256": None}],
        "trained_on": [{"data": "SA-1B", "labels": "mask", "images": "sa_1b"}],
    } | change
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{file_name}.yaml").open("w") as stream:
        YAML(typ="safe").dump({"card": card}, stream)
    try:
        return find_card(card["name"], folder)
    except ValueError:
        return None
