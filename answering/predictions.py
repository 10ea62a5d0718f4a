"""A student's answers to the phrases of a table, as predictions.parquet keeps them."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from deixis.batches.features import chunks
from deixis.batches.student_data import PhraseReader
from deixis.core.progress import track
from deixis.core.runtime import autocast
from deixis.imaging.masks import RLE
from deixis.labelling.segmenting import segment_table
from deixis.roles import Segmenter, Student

BATCH_SIZE = 64


def answer_phrases(model: Student, reader: PhraseReader, table: pd.DataFrame, device: torch.device) -> pd.DataFrame:
    """Box and score of every row of `table`, and point and mask where the student gives some; in stored pixels."""
    boxes: list[list[float]] = []
    scores: list[float] = []
    drawn: list[RLE] = []
    points: list[list[int]] = []
    batches = list(chunks(range(len(reader)), BATCH_SIZE))
    for rows in track(batches, "predicting", total=len(batches)):
        with autocast(device):
            grounding = model.predict(reader.batch(rows))
        boxes += reader.to_image(rows, grounding.boxes_xyxy.float()).tolist()
        scores += grounding.scores.float().tolist()
        if grounding.points_xy is not None:
            points += reader.to_image(rows, grounding.points_xy.repeat(1, 2).float())[:, :2].long().tolist()
        if grounding.masks is not None:
            drawn += reader.masks_to_image(rows, grounding.masks, grounding.mask_threshold)
    table = pd.DataFrame(table[["sample_id", "image_id", "expression", "split"]]).assign(box=boxes, score=scores)
    if points:
        table = table.assign(point=points)
    if drawn:
        table = table.assign(mask=drawn, mask_source="student")
    return table


def with_prompted_masks(table: pd.DataFrame, segmenter: Segmenter, *, paths: dict[Any, Path]) -> pd.DataFrame:
    """The table with the segmenter's mask of every box."""
    masks, quality = segment_table(segmenter, table, paths=paths)
    return table.assign(mask=masks, mask_quality=quality, mask_source="segmenter")
