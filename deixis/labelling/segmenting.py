"""Prompts of a whole table to masks, image by image, so that each image is encoded once for all its phrases."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from deixis.core.pieces import do_pieces
from deixis.core.progress import track
from deixis.core.records import read_json, write_json
from deixis.imaging.decoding import open_image
from deixis.imaging.masks import RLE, encode_mask
from deixis.roles import Segmenter

IMAGES_PER_PIECE = 256
MIN_SIDE = 1.0  # pixels; a box thinner than this after clipping gets no mask


def segment_table(
    model: Segmenter, table: pd.DataFrame, *, paths: dict[Any, Path]
) -> tuple[list[RLE | None], list[float]]:
    """Mask and predicted quality of each row's `box`; None and 0 where the box has no area inside its image."""
    masks: list[RLE | None] = [None] * len(table)
    quality = [0.0] * len(table)
    boxes = table["box"].tolist()
    for pixels, rows in _images(table, paths):
        height, width = pixels.shape[:2]
        limit = np.array([width, height, width, height])
        clipped = np.clip(np.array([boxes[row] for row in rows], dtype=np.float32), 0, limit)
        thick = np.minimum(clipped[:, 2] - clipped[:, 0], clipped[:, 3] - clipped[:, 1]) >= MIN_SIDE
        if not thick.any():
            continue
        drawn, scores = model.segment(pixels, torch.from_numpy(clipped[thick]).float())
        for row, mask, score in zip(np.array(rows)[thick].tolist(), drawn, scores, strict=True):
            masks[row], quality[row] = encode_mask(mask), float(score)
    return masks, quality


def segment_in_pieces(
    model: Segmenter, table: pd.DataFrame, *, paths: dict[Any, Path], scratch: Path
) -> tuple[list[RLE | None], list[float]]:
    """As `segment_table`, some images at a time, so that a killed run goes on and several processes may share the work.

    Args:
        scratch: Folder of this very table and segmenter (its name is the hash of all inputs).
    """
    numbers = table["image_id"].factorize()[0] // IMAGES_PER_PIECE
    rows_of = [np.flatnonzero(numbers == number) for number in range(numbers.max(initial=-1) + 1)]
    files = [scratch / f"{number:06d}.json" for number in range(len(rows_of))]

    def segment(number: int) -> None:
        masks, quality = segment_table(model, table.iloc[rows_of[number]], paths=paths)
        write_json({"masks": masks, "quality": quality}, files[number])

    do_pieces(len(files), lambda number: files[number].exists(), segment)
    masks: list[RLE | None] = [None] * len(table)
    quality = [0.0] * len(table)
    for rows, file in zip(rows_of, files, strict=True):
        piece = read_json(file, made_by="segment_boxes")
        for row, mask, score in zip(rows.tolist(), piece["masks"], piece["quality"], strict=True):
            masks[row], quality[row] = mask, score
    return masks, quality


def segment_points(model: Segmenter, table: pd.DataFrame, *, paths: dict[Any, Path]) -> tuple[list[RLE], list[float]]:
    """Mask and predicted quality at each row's `point`, the pixel (x, y)."""
    drawn: dict[int, tuple[RLE, float]] = {}
    points = np.array(table["point"].tolist(), dtype=np.float32).reshape(-1, 2) + 0.5  # the middle of the pixel
    for pixels, rows in _images(table, paths):
        masks, scores = model.segment_points(pixels, torch.from_numpy(points[rows]))
        for row, mask, score in zip(rows, masks, scores, strict=True):
            drawn[row] = encode_mask(mask), float(score)
    return [drawn[row][0] for row in range(len(table))], [drawn[row][1] for row in range(len(table))]


def _images(table: pd.DataFrame, paths: dict[Any, Path]) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Each image's pixels, once, with the rows of the table that are about it."""
    rows_of: dict[Any, list[int]] = {}
    for row, image_id in enumerate(table["image_id"]):
        rows_of.setdefault(image_id, []).append(row)
    for image_id, rows in track(rows_of.items(), "segmenting", total=len(rows_of)):
        yield np.asarray(open_image(paths[image_id])), rows
