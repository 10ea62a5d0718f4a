"""Boxes of a whole table to masks, image by image, so that each image is encoded once for all its phrases."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from deixis.core.progress import track
from deixis.imaging.masks import RLE, encode_mask
from deixis.imaging.pictures import open_image
from deixis.roles import Segmenter

MIN_SIDE = 1.0  # pixels; a box thinner than this after clipping gets no mask


def segment_table(
    model: Segmenter, table: pd.DataFrame, *, paths: dict[Any, Path]
) -> tuple[list[RLE | None], list[float]]:
    """Mask and predicted quality of each row's `box`; None and 0 where the box has no area inside its image."""
    masks: list[RLE | None] = [None] * len(table)
    quality = [0.0] * len(table)
    rows_of: dict[Any, list[int]] = {}
    for row, image_id in enumerate(table["image_id"]):
        rows_of.setdefault(image_id, []).append(row)
    boxes = table["box"].tolist()
    for image_id, rows in track(rows_of.items(), "segmenting", total=len(rows_of)):
        pixels = np.asarray(open_image(paths[image_id]))
        height, width = pixels.shape[:2]
        limit = np.array([width, height, width, height])
        clipped = np.clip(np.array([boxes[row] for row in rows], dtype=np.float32), 0, limit)
        thick = np.minimum(clipped[:, 2] - clipped[:, 0], clipped[:, 3] - clipped[:, 1]) >= MIN_SIDE
        if not thick.any():
            continue
        found, scores = model.segment(pixels, torch.from_numpy(clipped[thick]).float())
        for row, mask, score in zip(np.array(rows)[thick].tolist(), found, scores, strict=True):
            masks[row], quality[row] = encode_mask(mask), float(score)
    return masks, quality
