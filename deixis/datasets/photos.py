"""A folder of photographs with phrases, in RefCOCO's own format, so that `prepare` reads it as it reads RefCOCO.

The folder holds `images/`, COCO's `instances.json`, and `phrases.jsonl` with a row per phrase: image_id, annotation_id,
phrase, split (train, or dev, which becomes val).
"""

import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.datasets.refer_files import read_json, write_refer_folder

SPLITS = {"train": "train", "dev": "val", "val": "val", "test": "test"}
SPLIT_BY = "unc"
ROW = {"image_id": int, "annotation_id": int, "phrase": str, "split": str}


def copy_photos(folder: Path, out: Path) -> int:
    """Write images, `instances.json` and `refs(unc).p` below `out`; the number of phrases.

    Raises:
        DataError: If a file is missing or damaged, or a row of phrases.jsonl is no phrase about an annotation of its
            image.
    """
    source, listed = folder / "instances.json", folder / "phrases.jsonl"
    instances = read_json(source, what="COCO's instances.json")
    with foreign_bytes(source, "COCO's instances.json", "Fetch it again"):
        annotations = {row["id"]: row for row in instances["annotations"]}
        names = {row["id"]: row["file_name"] for row in instances["images"]}
    refs: dict[tuple[int, str], dict[str, Any]] = {}
    rows = [(number, _row(line, f"{listed}, line {number}")) for number, line in _lines(listed)]
    for number, row in rows:
        annotation, split = annotations.get(row["annotation_id"], {}), SPLITS.get(row["split"])
        if split is None or annotation.get("image_id") != row["image_id"] or row["image_id"] not in names:
            raise DataError(
                f"{listed}, line {number}: split {row['split']!r}, annotation {row['annotation_id']} of image "
                f"{row['image_id']}. Allowed: {', '.join(SPLITS)}, an annotation of that image. Mend the line"
            )
        ref = refs.setdefault(
            (annotation["id"], split),
            {"ref_id": len(refs), "ann_id": annotation["id"], "category_id": annotation.get("category_id"),
             "image_id": row["image_id"], "file_name": names[row["image_id"]], "split": split, "sentences": []},
        )  # fmt: skip
        ref["sentences"].append({"sent_id": number, "raw": row["phrase"], "sent": row["phrase"]})
    if not (folder / "images").is_dir():
        raise DataError(f"{folder / 'images'}: no such folder. Put the photographs there")
    out.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder / "images", out / "images", dirs_exist_ok=True)
    write_refer_folder(out, instances=instances, refs=list(refs.values()), split_by=SPLIT_BY)
    return len(rows)


def _lines(path: Path) -> list[tuple[int, str]]:
    """Lines that are not empty, with their numbers; only a line feed ends one, as JSON Lines has it."""
    with foreign_bytes(path, "UTF-8 text", "Put phrases there, one JSON object a line"):
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def _row(line: str, place: str) -> dict[str, Any]:
    with foreign_bytes(place, "a row of image_id, annotation_id, phrase and split", "Mend the line"):
        row = json.loads(line)
        return {name: TypeAdapter(kind).validate_python(row[name], strict=True) for name, kind in ROW.items()}
