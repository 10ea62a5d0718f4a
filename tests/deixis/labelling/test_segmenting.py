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

SIDE, IMAGES = 16, 5


class Filler:
    """A segmenter whose mask is the box itself; counts the images that it was shown."""

    Config = None

    def __init__(self) -> None:
        self.images = 0

    def segment(self, image, boxes, **_):
        self.images += 1
        masks = np.zeros((len(boxes), SIDE, SIDE), bool)
        for mask, (left, top, right, bottom) in zip(masks, boxes.round().int().tolist(), strict=True):
            mask[top:bottom, left:right] = True
        return masks, (boxes.sum(1) * torch.pi).numpy()

    def segment_points(self, image, points_xy):
        raise NotImplementedError

    def propose(self, image, **_):
        raise NotImplementedError


@pytest.fixture
def table(tmp_path, monkeypatch) -> pd.DataFrame:
    """Phrases about five images, not in their order; one box has no area."""
    monkeypatch.setattr(segmenting, "IMAGES_PER_PIECE", 2)
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.new("RGB", (SIDE, SIDE)).save(tmp_path / f"{number}.png")
    corners = rng.uniform(0, SIDE / 2, (12, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(2, SIDE / 2, (12, 2))], 1)
    boxes[3] = 0
    return pd.DataFrame({"image_id": [3, 0, 3, 4, 1, 2, 2, 0, 4, 1, 3, 2], "box": boxes.tolist()})


def paths_in(folder: Path) -> dict[int, Path]:
    return {number: folder / f"{number}.png" for number in range(IMAGES)}


def test_pieces_together_are_the_whole_and_are_done_once(table, tmp_path):
    expected = segment_table(Filler(), table, paths=paths_in(tmp_path))
    assert expected[0].count(None) == 1
    model, scratch = Filler(), tmp_path / "scratch"
    assert segment_in_pieces(model, table, paths=paths_in(tmp_path), scratch=scratch) == expected
    assert model.images == IMAGES and len(list(scratch.iterdir())) == 3
    assert segment_in_pieces(model, table, paths=paths_in(tmp_path), scratch=scratch) == expected
    assert model.images == IMAGES


def test_shares_leave_what_the_last_process_finds(table, tmp_path, monkeypatch):
    expected = segment_table(Filler(), table, paths=paths_in(tmp_path))
    model = Filler()
    for share in ("1/2", "0/2"):
        monkeypatch.setenv(PIECE, share)
        with pytest.raises(SystemExit):
            segment_in_pieces(model, table, paths=paths_in(tmp_path), scratch=tmp_path / "scratch")
    monkeypatch.delenv(PIECE)
    assert model.images == IMAGES
    assert segment_in_pieces(model, table, paths=paths_in(tmp_path), scratch=tmp_path / "scratch") == expected
    assert model.images == IMAGES


def test_a_table_without_rows_has_no_masks(table, tmp_path):
    assert segment_in_pieces(Filler(), table[:0], paths={}, scratch=tmp_path / "scratch") == ([], [])
