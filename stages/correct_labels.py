"""A teacher's labels with what people decided about them: supervision beyond pairs, and the labels say so.

Decisions about evaluation splits change nothing, so that metrics measure the teacher. Masks of boxes that a person put
right are drawn anew. No truth is read.

reads   labels.parquet, decisions.parquet, images.parquet, the images, the segmenter, the teacher's card;
        params: labels.masks
writes  labels.parquet of the same rows, with a column `human` and, where enough was decided, `confidence` learnt from
        it, and beside it the card, as config.json
run     dvc repro correct_labels@scenes_plus-dvin, with dvin under run.corrected in params.yaml
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.errors import DataError
from deixis.core.progress import say
from deixis.core.records import read_json, read_table, write_json, write_table
from deixis.core.runtime import Device, pick_device
from deixis.labelling.human_decisions import COLUMN, with_decisions
from deixis.labelling.label_columns import LABEL_COLUMNS
from deixis.labelling.segmenting import segment_table
from deixis.measuring.metrics import box_array
from models.frozen.segmenters import load_segmenter
from reviewing.confidence import learnt_confidence
from reviewing.correcting import Corrected, apply_decisions
from reviewing.table import read_decisions

OPTIONAL_COLUMNS = ("prompted_mask", "supervision", "confidence")


def correct_labels(
    *,
    labels: Path,
    decisions: Path,
    images: Path,
    image_root: Path,
    segmenter: Path,
    card: Path,
    out: Path,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Apply people's decisions to a teacher's training labels."""
    masks = read_section(params, "labels.masks", str)
    table = read_table(labels, columns=LABEL_COLUMNS, optional=OPTIONAL_COLUMNS, made_by="segment_boxes")
    decided = read_decisions(decisions)
    boxes = box_array(table["box"])  # the teacher's own
    corrected = apply_decisions(table, decided)
    if decided and corrected.left["of phrases that these labels do not have"] == len(decided):
        raise DataError(
            f"{decisions}: none of its {len(decided)} decisions is about a phrase of {labels}. Allowed: decisions "
            "about the same dataset. Write them with deixis serve or deixis take-decisions"
        )
    table = corrected.table
    if corrected.moved.any():
        paths = read_table(images, columns=("image_id", "path"), made_by="prepare").set_index("image_id")["path"]
        places = {image_id: image_root / path for image_id, path in paths.items()}
        table = with_masks(corrected, None if masks == "none" else segmenter, places, device)
    about = read_json(card, made_by="train_teacher")
    known = table["supervision"].iloc[0] if "supervision" in table else about.get("supervision", "image-phrase pairs")
    supervision = with_decisions(known, corrected.applied)
    table = table.assign(supervision=supervision)
    confidence = confidence_of(table, boxes)
    write_table(table if confidence is None else table.assign(confidence=confidence), out)
    counted = {"human_decisions": corrected.applied, "supervision": supervision, "confidence": confidence is not None}
    write_json(about | counted, out.with_name("config.json"))
    left = "".join(f"; left out: {count} {why}" for why, count in corrected.left.items())
    say(f"{out}: {corrected.applied} of {len(decided)} decisions, {int(corrected.moved.sum())} other boxes{left}")


def confidence_of(table: pd.DataFrame, boxes_xyxy: np.ndarray) -> np.ndarray | None:
    """How sure each label is, by what people said of some; None where they said too little."""
    verdicts = table[COLUMN].to_numpy()
    decided, right = verdicts != "", verdicts == "accept"
    about = table["image_id"].to_numpy(), boxes_xyxy, table["margin"].to_numpy(float)
    learnt = learnt_confidence(*about, decided=decided, right=right)
    return None if learnt is None else np.where(decided, (verdicts != "reject").astype(float), learnt)


def with_masks(corrected: Corrected, segmenter: Path | None, paths: dict[Any, Path], device: Device) -> pd.DataFrame:
    """Labels with masks of their new boxes; without any where no segmenter knows the images."""
    table, moved = corrected.table, corrected.moved
    drawn: list[Any] = [None] * int(moved.sum())
    quality = [0.0] * len(drawn)
    if segmenter is not None:
        model = load_segmenter(segmenter, pick_device(device))
        drawn, quality = segment_table(model, table[moved], paths=paths)
    changed = {"mask": drawn, "mask_quality": quality, "mask_source": ["segmenter"] * len(drawn)}
    if "prompted_mask" in table:
        changed["prompted_mask"] = drawn
    columns = {}
    for name, values in changed.items():
        column = table[name].tolist()
        for row, value in zip(moved.nonzero()[0], values, strict=True):
            column[row] = value
        columns[name] = pd.Series(column, index=table.index, dtype=table[name].dtype)
    return table.assign(**columns)


if __name__ == "__main__":
    run_stage(correct_labels)
