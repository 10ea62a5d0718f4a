"""A teacher's finished labels with the detector's own masks: DViN for masks. No truth is read.

The teacher's choice of box stays; the mask is the one that the mask head drew for that very box. The segmenter's mask
stands beside it as `prompted_mask`, so that one evaluation scores both.

reads   labels.parquet, detections.parquet, the masks of its candidates, the teacher's card
writes  labels.parquet of the same rows
run     dvc repro label_with_detector_masks@scenes_plus-dvin, with dvin under run.redrawn in params.yaml
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from deixis.boxes import paired_iou
from deixis.core.cli import run_stage
from deixis.core.errors import DataError
from deixis.core.progress import say
from deixis.core.records import read_json, read_table, write_json, write_table
from deixis.imaging.masks import RLE
from deixis.labelling.label_columns import PROVENANCE_COLUMNS
from deixis.labelling.label_table import BOX_COLUMNS

SAME_BOX = 0.99  # IoU above which a label's box is a candidate's: a teacher of anchors picks one as it is
KEPT_COLUMNS = (*BOX_COLUMNS, "mask", *PROVENANCE_COLUMNS)


class DrawnCandidates(NamedTuple):
    """Candidates of one image: corners in stored pixels [candidates, 4], and a mask each."""

    boxes_xyxy: Tensor
    masks: list[RLE]


def label_with_detector_masks(*, labels: Path, candidates: Path, masks: Path, card: Path, out: Path) -> None:
    """Give every label the detector's mask of its box."""
    table = read_table(labels, columns=KEPT_COLUMNS, optional=("prompted_mask", "supervision"), made_by="segment_boxes")
    drawn = read_drawn(candidates, masks)
    missing = sorted(set(table["image_id"]) - drawn.keys())
    if missing:
        raise DataError(
            f"{masks}: has no image {missing[0]}, as {len(missing)} of the labels' images. "
            "Every image of the set is needed. Run: dvc repro -f draw_candidates"
        )
    if "prompted_mask" not in table:  # a teacher that draws masks has it already
        table["prompted_mask"] = table["mask"]
    chosen = [mask_of(box, drawn[image]) for box, image in zip(table["box"], table["image_id"], strict=True)]
    table = table.assign(
        mask=pd.Series(chosen, index=table.index, dtype=object),
        mask_source=["none" if mask is None else "detector" for mask in chosen],
    )
    write_table(table, out)
    write_json(read_json(card, made_by="train_teacher"), out.with_name("config.json"))
    say(f"{chosen.count(None)} of {len(table)} labels have no mask, because their box is no candidate of the detector")


def read_drawn(candidates: Path, masks: Path) -> dict[int, DrawnCandidates]:
    """Candidates by image id, of the images that both files have.

    Raises:
        DataError: If an image has more boxes than masks, or fewer.
    """
    boxes = read_table(candidates, columns=("image_id", "boxes"), made_by="list_candidates")
    drawn = read_table(masks, columns=("image_id", "masks"), made_by="draw_candidates")
    by_image = {}
    for image_id, flat, of_image in boxes.merge(drawn, on="image_id").itertuples(index=False):
        corners = torch.from_numpy(np.array(flat, dtype=np.float32)).view(-1, 4)
        if len(corners) != len(of_image):
            raise DataError(
                f"{masks}: {len(of_image)} masks for the {len(corners)} boxes of image {image_id} in {candidates}. "
                "Each box needs one. Run: dvc repro -f draw_candidates"
            )
        by_image[image_id] = DrawnCandidates(corners, list(of_image))
    return by_image


def mask_of(box: np.ndarray, drawn: DrawnCandidates) -> RLE | None:
    """Mask of the candidate whose box this is, or None where none is."""
    corners = torch.from_numpy(np.array(box, dtype=np.float32))
    overlap = paired_iou(corners.expand_as(drawn.boxes_xyxy), drawn.boxes_xyxy)
    return drawn.masks[int(overlap.argmax())] if overlap.max() > SAME_BOX else None


if __name__ == "__main__":
    run_stage(label_with_detector_masks)
