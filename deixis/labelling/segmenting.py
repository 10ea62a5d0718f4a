"""Prompts of a whole table to masks, image by image, so that each image is encoded once for all its phrases."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from deixis.core.pieces import end_of_share, is_mine
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
        # several phrases are often about one object, and two fifths of a teacher's boxes are there twice
        different, which = np.unique(clipped[thick], axis=0, return_inverse=True)
        drawn, scores = model.segment(pixels, torch.from_numpy(different).float())
        codes = [encode_mask(mask) for mask in drawn]
        for row, number in zip(np.array(rows)[thick].tolist(), which.ravel().tolist(), strict=True):
            masks[row], quality[row] = codes[number], float(scores[number])
    return masks, quality


def segment_in_pieces(
    model: Segmenter,
    parts: Callable[[], Iterator[pd.DataFrame]],
    *,
    path_of: Callable[[Any], Path],
    scratch: Path,
) -> Iterator[tuple[pd.DataFrame, list[RLE | None], list[float]]]:
    """As `segment_table`, some images at a time, so that a killed run goes on and several processes may share the work.

    Args:
        parts: Reads the table from its beginning, some rows at a time.
        path_of: Image id -> file.
        scratch: Folder of this very table and segmenter (its name is the hash of all inputs).

    Returns:
        Every part with its masks and their predicted quality.
    """
    number = 0
    for table in parts():
        for rows in _pieces(table):
            file = _file(scratch, number)
            number += 1
            if is_mine(number - 1) and not file.exists():
                piece = table.iloc[rows]
                paths = {image_id: path_of(image_id) for image_id in piece["image_id"].unique()}
                masks, quality = segment_table(model, piece, paths=paths)
                write_json({"masks": masks, "quality": quality}, file)
    end_of_share()
    return _with_masks(parts(), scratch)


def _pieces(table: pd.DataFrame) -> list[np.ndarray]:
    """Rows about each so many images, by number."""
    numbers = table["image_id"].factorize()[0] // IMAGES_PER_PIECE
    return [np.flatnonzero(numbers == number) for number in range(numbers.max(initial=-1) + 1)]


def _file(scratch: Path, number: int) -> Path:
    return scratch / f"{number:06d}.json"


def _with_masks(
    parts: Iterator[pd.DataFrame], scratch: Path
) -> Iterator[tuple[pd.DataFrame, list[RLE | None], list[float]]]:
    number = 0
    for table in parts:
        masks: list[RLE | None] = [None] * len(table)
        quality = [0.0] * len(table)
        for rows in _pieces(table):
            piece = read_json(_file(scratch, number), made_by="segment_boxes")
            number += 1
            for row, mask, score in zip(rows.tolist(), piece["masks"], piece["quality"], strict=True):
                masks[row], quality[row] = mask, score
        yield table, masks, quality


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
