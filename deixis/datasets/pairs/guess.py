"""Which columns of a corpus are which, told by their names, for a user who has said nothing yet."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from deixis.datasets.pairs.arrow_files import column_names
from deixis.datasets.pairs.csv_files import csv_columns
from deixis.datasets.pairs.json_files import first_keys
from deixis.datasets.pairs.settings import Fields, Format

# Other names that people give the columns of `Fields`, likeliest first; case does not count
SYNONYMS = {
    "image": ("file_name", "filename", "image_path", "path", "img", "picture", "file", "image_file"),
    "text": ("caption", "phrase", "expression", "sentence", "description", "query", "prompt"),
    "id": ("sample_id", "uid", "key"),
    "box": ("bbox", "boxes", "bounding_box"),
    "split": ("subset", "partition", "fold"),
    "group": ("ref_id", "object_id", "ann_id", "annotation_id"),
}


def read_names(kind: Format, path: Path) -> list[str]:
    """Names of the columns, or of the keys of the first object; none where the layout fixes them."""
    if kind in ("parquet", "hf"):
        return column_names(path, kind)
    if kind in ("jsonl", "json"):
        return first_keys(path, kind)
    if kind == "csv":
        return csv_columns(path)
    return []


def guess_fields(names: Sequence[str]) -> Fields:
    """Each column by its own name where that is there, else by the first synonym that is."""
    known = {name.lower(): name for name in reversed(names)}
    guessed = {}
    for field in fields(Fields):
        synonyms = (field.name, *SYNONYMS[field.name])
        guessed[field.name] = next((known[name] for name in synonyms if name in known), field.name)
    return Fields(**guessed)
