"""Turn the teacher's boxes into masks: `labels.parquet`, the product. No truth is read.

A teacher that draws masks keeps its own; the segmenter's stand beside them as `prompted_mask`.

reads   boxes.parquet, images.parquet, the images, the segmenter, the teacher's card; params: labels.masks
writes  labels.parquet
run     dvc repro segment_boxes@scenes-dvin
"""

import shutil
from functools import partial
from pathlib import Path

from deixis.core.checkpoints import run_key
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.long_tables import parts_of_images, write_parts
from deixis.core.pieces import end_of_share
from deixis.core.progress import say
from deixis.core.records import file_sha256, read_json, read_table
from deixis.core.runtime import Device, pick_device
from deixis.labelling.label_table import BOX_COLUMNS, finish_labels
from deixis.labelling.rules import LabelParams
from deixis.labelling.segmenting import segment_in_pieces
from models.frozen.segmenters import load_segmenter

ROWS_PER_PART = 8192  # of which the masks are in memory together


def segment_boxes(
    *,
    boxes: Path,
    images: Path,
    image_root: Path,
    segmenter: Path,
    teacher: Path,
    out: Path,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Turn the teacher's boxes into masks, where the settings say that a segmenter knows the images."""
    rules = read_section(params, "labels", LabelParams)
    optional = ("own_mask", "supervision", "confidence")
    parts = partial(
        parts_of_images, boxes, BOX_COLUMNS, optional=optional, rows=ROWS_PER_PART, made_by="write_pseudo_labels"
    )
    card = read_json(teacher / "config.json", made_by="train_teacher")
    if rules.masks == "none":
        end_of_share()
        say(f"{out}: boxes alone, as labels.masks says")
        write_parts((finish_labels(table, None, None, card) for table in parts()), out)
        return
    paths = read_table(images, columns=("image_id", "path"), made_by="prepare").set_index("image_id")["path"]
    model = load_segmenter(segmenter, pick_device(device))
    checksum = file_sha256(segmenter / "model.safetensors")
    scratch = Path("scratch/segment_boxes") / run_key(boxes, images, checksum, ROWS_PER_PART, threads=False)
    drawn = segment_in_pieces(model, parts, path_of=lambda image_id: image_root / paths.loc[image_id], scratch=scratch)
    write_parts((finish_labels(*part, card) for part in drawn), out)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    run_stage(segment_boxes)
