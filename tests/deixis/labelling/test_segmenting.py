"""Masks of a table's boxes in pieces: those of the whole table, whoever did the pieces."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from deixis.core.pieces import PIECE
from deixis.labelling import segmenting
from deixis.labelling.segmenting import segment_in_pieces, segment_table
from models.detectors.yolox import YOLOXConfig
from models.segmenters.crop_masks import CropMasks, CropMasksConfig

SIDE, IMAGES = 16, 5


class Counting(CropMasks):
    """A small segmenter with weights as drawn, which counts the images that it was shown, and the boxes."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(CropMasksConfig(trunk=YOLOXConfig(width=0.125), side=32, width=8))
        self.eval()
        self.images = self.boxes = 0

    def segment(self, image, boxes_xyxy, **options):
        self.images += 1
        self.boxes += len(boxes_xyxy)
        return super().segment(image, boxes_xyxy, **options)


@pytest.fixture
def table(tmp_path, monkeypatch) -> pd.DataFrame:
    """Phrases about five images, not in their order; one box has no area."""
    monkeypatch.setattr(segmenting, "IMAGES_PER_PIECE", 2)
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    corners = rng.uniform(0, SIDE / 2, (12, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(2, SIDE / 2, (12, 2))], 1)
    boxes[3] = 0
    return pd.DataFrame({"image_id": [3, 0, 3, 4, 1, 2, 2, 0, 4, 1, 3, 2], "box": boxes.tolist()})


def paths_in(folder: Path) -> dict[int, Path]:
    return {number: folder / f"{number}.png" for number in range(IMAGES)}


def in_pieces(model, folder: Path, *parts: pd.DataFrame) -> tuple[list, list]:
    """Masks and quality of all parts."""
    drawn = list(
        segment_in_pieces(
            model, lambda: iter(parts), path_of=lambda number: folder / f"{number}.png", scratch=folder / "scratch"
        )
    )
    return [mask for _, masks, _ in drawn for mask in masks], [score for *_, quality in drawn for score in quality]


def test_pieces_together_are_the_whole_and_are_done_once(table, tmp_path):
    expected = segment_table(Counting(), table, paths=paths_in(tmp_path))
    assert expected[0].count(None) == 1
    model = Counting()
    assert in_pieces(model, tmp_path, table) == expected
    assert model.images == IMAGES and len(list((tmp_path / "scratch").iterdir())) == 3
    assert in_pieces(model, tmp_path, table) == expected
    assert model.images == IMAGES


def test_shares_leave_what_the_last_process_finds(table, tmp_path, monkeypatch):
    expected = segment_table(Counting(), table, paths=paths_in(tmp_path))
    model = Counting()
    for share in ("1/2", "0/2"):
        monkeypatch.setenv(PIECE, share)
        with pytest.raises(SystemExit):
            in_pieces(model, tmp_path, table)
    monkeypatch.delenv(PIECE)
    assert model.images == IMAGES
    assert in_pieces(model, tmp_path, table) == expected
    assert model.images == IMAGES


def test_a_box_that_phrases_share_is_drawn_once_and_each_phrase_has_its_mask(table, tmp_path):
    alone = segment_table(Counting(), table, paths=paths_in(tmp_path))
    model, twice = Counting(), pd.concat([table, table[::-1]], ignore_index=True)
    masks, quality = segment_table(model, twice, paths=paths_in(tmp_path))
    assert (masks, quality) == (alone[0] + alone[0][::-1], alone[1] + alone[1][::-1])
    assert model.boxes == len(table) - 1  # one has no area


def test_a_table_without_rows_has_no_masks(table, tmp_path):
    assert in_pieces(Counting(), tmp_path, table[:0]) == ([], [])


def test_parts_of_a_table_have_the_masks_of_the_whole(table, tmp_path):
    table = table.sort_values("image_id", ignore_index=True)
    model, parts = Counting(), [table[:4], table[4:].reset_index(drop=True)]
    assert in_pieces(model, tmp_path, *parts) == segment_table(Counting(), table, paths=paths_in(tmp_path))
    assert model.images == IMAGES
