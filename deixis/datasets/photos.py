"""A folder of photographs with phrases, in RefCOCO's own format, so that `prepare` reads it as it reads RefCOCO.

The folder holds `images/`, COCO's `instances.json`, and `phrases.jsonl` with a row per phrase: image_id, annotation_id,
phrase, split (train, or dev, which becomes val).
"""

import json
import shutil
from pathlib import Path
from typing import Any

from deixis.core.errors import DataError
from deixis.datasets.refer_files import read_json, write_refer_folder

SPLITS = {"train": "train", "dev": "val", "val": "val", "test": "test"}
SPLIT_BY = "unc"


def copy_photos(folder: Path, out: Path) -> int:
    """Write images, `instances.json` and `refs(unc).p` below `out`; the number of phrases.

    Raises:
        DataError: If a file is missing, or a row of phrases.jsonl is no phrase about an annotation of its image.
    """
    instances = read_json(folder / "instances.json", what="COCO's instances.json")
    annotations = {row["id"]: row for row in instances["annotations"]}
    names = {row["id"]: row["file_name"] for row in instances["images"]}
    refs: dict[tuple[int, str], dict[str, Any]] = {}
    lines = _lines(folder / "phrases.jsonl")
    for number, line in enumerate(lines, start=1):
        row = _row(line, folder / "phrases.jsonl", number)
        annotation, split = annotations.get(row["annotation_id"], {}), SPLITS.get(row["split"])
        if split is None or annotation.get("image_id") != row["image_id"]:
            raise DataError(
                f"{folder / 'phrases.jsonl'}, line {number}: split {row['split']!r}, annotation {row['annotation_id']} "
                f"of image {row['image_id']}. Allowed: {', '.join(SPLITS)}, an annotation of that image. Mend the line"
            )
        ref = refs.setdefault(
            (annotation["id"], split),
            {"ref_id": len(refs), "ann_id": annotation["id"], "category_id": annotation["category_id"],
             "image_id": row["image_id"], "file_name": names[row["image_id"]], "split": split, "sentences": []},
        )  # fmt: skip
        ref["sentences"].append({"sent_id": number, "raw": row["phrase"], "sent": row["phrase"]})
    out.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder / "images", out / "images", dirs_exist_ok=True)
    write_refer_folder(out, instances=instances, refs=list(refs.values()), split_by=SPLIT_BY)
    return len(lines)


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Put phrases there, one JSON object a line") from None


def _row(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
        return {name: row[name] for name in ("image_id", "annotation_id", "phrase", "split")}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}, line {number}: no row of image_id, annotation_id, phrase and split ({error!r}). Mend the line"
        ) from None
