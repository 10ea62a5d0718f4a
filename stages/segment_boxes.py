"""Turn the teacher's boxes into masks: `labels.parquet`, the product. No truth is read.

A teacher that draws masks keeps its own; the segmenter's stand beside them as `prompted_mask`.

reads   boxes.parquet, images.parquet, the images, the segmenter, the teacher's card
writes  labels.parquet
run     dvc repro segment_boxes@scenes-dvin
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

from deixis.core.cli import run_stage
from deixis.core.records import read_json, read_table, write_table
from deixis.core.runtime import Device, pick_device
from deixis.imaging.masks import RLE
from deixis.labelling.segmenting import segment_table
from models.loading.encoders import load_segmenter

SCHEMA_VERSION = 1
BOX_COLUMNS = (
    "sample_id", "image_id", "expression", "split", "box", "runner_up", "match_box", "score", "margin", "objectness",
    "experts", "accept", "reason",
)  # fmt: skip


def segment_boxes(
    *,
    boxes: Path,
    images: Path,
    image_root: Path,
    segmenter: Path,
    teacher: Path,
    out: Path,
    device: Device = "auto",
) -> None:
    """Turn the teacher's boxes into masks."""
    hardware = pick_device(device)
    table = read_table(boxes, columns=BOX_COLUMNS, optional=("own_mask", "supervision"), made_by="write_pseudo_labels")
    paths = read_table(images, columns=("image_id", "path"), made_by="prepare").set_index("image_id")["path"]
    model = load_segmenter("small_sam", segmenter, hardware)
    masks, quality = segment_table(
        model, table, paths={image_id: image_root / path for image_id, path in paths.items()}
    )
    write_table(finish_labels(table, masks, quality, read_json(teacher / "config.json", made_by="train_teacher")), out)


def finish_labels(
    table: pd.DataFrame, masks: list[RLE | None], quality: list[float], card: dict[str, Any]
) -> pd.DataFrame:
    """Boxes with the segmenter's masks and who answered: rows of labels.parquet."""
    config = json.dumps(card["model"]).encode()
    if "own_mask" in table:  # a teacher that draws masks: its own, and beside it the segmenter's for its box
        table["prompted_mask"] = masks
        own = table.pop("own_mask")
        masks = [drawn if drawn is not None else prompted for drawn, prompted in zip(own, masks, strict=True)]
        table["mask_source"] = ["segmenter" if drawn is None else "teacher" for drawn in own]
    else:
        table["mask_source"] = "segmenter"
    return table.assign(
        mask=masks,
        mask_quality=quality,
        teacher=card["teacher"],
        checkpoint_sha256=card["sha256"],
        config_sha256=hashlib.sha256(config).hexdigest(),
        schema_version=SCHEMA_VERSION,
    )


if __name__ == "__main__":
    run_stage(segment_boxes)
