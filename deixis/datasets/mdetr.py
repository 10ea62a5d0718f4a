"""MDETR's `finetune_<set>_<split>.json`: COCO files with one image row per phrase, and its one box.

The `id` of an image row is a running number of the phrase; `original_id` is the image's, and that of an annotation
the object's, which stands in for the ref's. No masks. Source: ashkamath/mdetr (refexp_coco_format.py).
"""

from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT
from deixis.core.errors import DataError
from deixis.datasets.refer_files import read_json
from deixis.datasets.referring import ReferringConfig, ReferringSource, RefRow, ingest_referring
from deixis.datasets.segmentations import NO_MASK
from deixis.datasets.tables import id_key, known_split, names_by_id, whole_ids


@dataclass(frozen=True, config=STRICT)
class MDETRConfig(ReferringConfig):
    """The files of one set."""

    name: str = "refcoco"  # refcoco, refcoco+ or refcocog: what follows finetune_ in the file names


class MDETRAdapter:
    """Reads one set of MDETR's files."""

    Config = MDETRConfig

    def __init__(self, config: MDETRConfig) -> None:
        self.config = config

    def ingest(self, *, raw: Path, out: Path, dataset: str) -> None:
        """Write the tables of all splits."""
        source = read_source(raw, self.config.name)
        ingest_referring(source, self.config, raw=raw, out=out, dataset=dataset)


def read_source(raw: Path, name: str) -> ReferringSource:
    """The splits of one set in RefCOCO's words.

    Raises:
        DataError: If no split is there, or a file is not COCO's.
    """
    start = f"finetune_{name}_"
    files = sorted(path for path in raw.glob("*.json") if path.name.startswith(start))
    if not files:
        raise DataError(f"{raw}: no {start}<split>.json. Put MDETR's files there, then run: dvc repro prepare")
    images: dict[str, Any] = {}
    annotations: list[Any] = []
    categories: dict[str, str] = {}
    licences: dict[str, str] = {}
    refs: list[RefRow] = []
    for file in files:
        whole = _read_split(file)
        categories |= names_by_id(whole.get("categories"))[0]
        licences |= names_by_id(whole.get("licenses"))[0]
        boxes, split = _boxes_by_image(whole["annotations"]), known_split(file.stem.removeprefix(start))
        for line, row in enumerate(whole_ids(row, "id", "original_id") for row in whole["images"]):
            annotation = _annotation(row, f"{file.name}:{line}", boxes)
            if annotation is not None:
                annotations.append(annotation)
                images.setdefault(str(row["original_id"]), _image(row))
                row = _ref(row, annotation, split)
            refs.append(RefRow(file, line, row))
    return ReferringSource(
        raw, list(images.values()), annotations, categories, refs, licences, lists_every_object=False
    )


def _read_split(file: Path) -> dict[str, Any]:
    whole = read_json(file, what="MDETR's annotation file")
    if not isinstance(whole, dict) or any(not isinstance(whole.get(n), list) for n in ("images", "annotations")):
        raise DataError(
            f"{file}: not a COCO file. Allowed: JSON with the lists images and annotations. "
            "Fetch it again, then run: dvc repro prepare"
        )
    return whole


def _image(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["original_id"]} | {name: row.get(name) for name in ("file_name", "width", "height", "license")}


def _boxes_by_image(rows: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """Annotations by the running number of their phrase."""
    boxes: dict[str, list[dict[str, Any]]] = {}
    for row in (whole_ids(row, "image_id", "original_id", "category_id") for row in rows):
        key = id_key(row.get("image_id")) if isinstance(row, dict) else None
        if key is not None:
            boxes.setdefault(key, []).append(row)
    return boxes


def _annotation(row: Any, name: str, boxes: dict[str, list[dict[str, Any]]]) -> dict[str, Any] | None:
    """The one box of a phrase, or None where ids are missing or there is not one."""
    ids = [id_key(row.get(field)) for field in ("id", "original_id")] if isinstance(row, dict) else [None]
    candidates = boxes.get(str(row["id"]), []) if None not in ids else []
    if len(candidates) != 1 or id_key(candidates[0].get("original_id")) is None:
        return None
    fields = {field: candidates[0].get(field) for field in ("bbox", "category_id", "original_id")}
    return fields | {"id": name, "image_id": row["original_id"], "segmentation": NO_MASK}


def _ref(row: dict[str, Any], annotation: dict[str, Any], split: str) -> dict[str, Any]:
    return {
        "ref_id": annotation["original_id"],
        "ann_id": annotation["id"],
        "image_id": row["original_id"],
        "category_id": annotation["category_id"],
        "split": split,
        "sentences": [{"sent_id": row["id"], "raw": row.get("caption")}],
    }
