"""Rows of refs, annotations and sentences: which of them are whole, and what the others lack."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deixis.datasets.quarantine import Quarantine, shown
from deixis.datasets.tables import id_key, is_storable, whole_ids
from deixis.language.text import normalise

TextField = Literal["raw", "sent"]
NO_TARGET = -1  # gRefCOCO's target of a phrase that means nothing in its image


@dataclass(frozen=True)
class RefRow:
    """One row of refs as found, and where."""

    file: Path
    line: int
    ref: Any


def index_annotations(rows: list[Any], *, file: Path, quarantine: Quarantine) -> dict[str, dict[str, Any]]:
    """Annotations by the key of their id; the first of two with one id is kept."""
    annotations: dict[str, dict[str, Any]] = {}
    for line, row in enumerate(rows):
        key = id_key(row.get("id")) if isinstance(row, dict) else None
        if key is None or id_key(row.get("image_id")) is None:
            quarantine.add(file, line, "E_ROW_BROKEN", f"an annotation without ids: {shown(row)}")
        elif key in annotations:
            quarantine.add(file, line, "E_ID_DUP", f"annotation {key}")
        else:
            annotations[key] = row
    return annotations


def ref_problem(ref: Any) -> str | None:
    """What a ref lacks to be one, or None."""
    if not isinstance(ref, dict) or not isinstance(ref.get("sentences"), list):
        return f"not a ref with sentences: {shown(ref)}"
    targets = ref.get("ann_id")
    if isinstance(targets, list):
        number = sum(target != NO_TARGET for target in targets) or "no"
        return f"it has {number} targets; only phrases about one object can be used: {shown(ref)}"
    missing = [name for name in ("ref_id", "ann_id", "image_id") if id_key(ref.get(name)) is None]
    if missing:
        return f"its {', '.join(missing)} is no id: {shown(ref)}"
    category = ref.get("category_id")
    if not isinstance(category, bool | str) and id_key(category) is None:
        return f"its category_id is no id: {shown(ref)}"
    return None if isinstance(ref.get("split"), str) else f"it has no split: {shown(ref)}"


def is_usable(
    row: RefRow, images: Mapping[str, Any], annotations: Mapping[str, dict[str, Any]], quarantine: Quarantine
) -> bool:
    """Whether a ref has all its parts, of one image; what it lacks is listed."""
    ref, problem = row.ref, ref_problem(row.ref)
    if problem is None and str(ref["image_id"]) not in images:
        problem = f"there is no image {ref['image_id']}"
    if problem is None and str(ref["ann_id"]) not in annotations:
        problem = f"there is no annotation {ref['ann_id']}"
    if problem is None and str(annotations[str(ref["ann_id"])]["image_id"]) != str(ref["image_id"]):
        problem = f"annotation {ref['ann_id']} is of another image"
    if problem is not None:
        quarantine.add(row.file, row.line, "E_REF_BROKEN", problem)
    elif ref["split"] not in ("train", "val") and not ref["split"].startswith("test"):
        quarantine.add(row.file, row.line, "E_SPLIT_BAD", shown(ref["split"]))
    else:
        return True
    return False


def split_of_each_image(usable: list[RefRow]) -> dict[str, str]:
    """The split that most refs of an image have, the first by name among equals: whatever the order of the file."""
    counts: dict[str, Counter[str]] = {}
    for row in usable:
        counts.setdefault(str(row.ref["image_id"]), Counter())[row.ref["split"]] += 1
    return {key: min(splits, key=lambda split: (-splits[split], split)) for key, splits in counts.items()}


def sound_sentences(row: RefRow, text_field: TextField, quarantine: Quarantine) -> Iterator[tuple[dict[str, Any], str]]:
    """The sound sentences of a ref and their texts as models read them."""
    if not row.ref["sentences"]:
        quarantine.add(row.file, row.line, "E_TEXT_EMPTY", f"ref {row.ref['ref_id']} has no sentence")
    for sentence in (whole_ids(sentence, "sent_id") for sentence in row.ref["sentences"]):
        if not isinstance(sentence, dict):
            quarantine.add(row.file, row.line, "E_ROW_BROKEN", f"not a sentence: {shown(sentence)}")
            continue
        names = ("raw", text_field)
        texts = [value for name in names if isinstance(value := sentence.get(name), str)]
        if len(texts) < len(names):
            quarantine.add(row.file, row.line, "E_TEXT_TYPE", shown(sentence))
        elif not all(map(is_storable, texts)):
            quarantine.add(row.file, row.line, "E_TEXT_ENCODING", shown(sentence))
        elif id_key(sentence.get("sent_id")) is None:
            quarantine.add(row.file, row.line, "E_ID_BAD", f"its sent_id is no id: {shown(sentence)}")
        elif not (text := normalise(sentence[text_field])):
            quarantine.add(row.file, row.line, "E_TEXT_EMPTY", repr(sentence["raw"]))
        else:
            yield sentence, text
