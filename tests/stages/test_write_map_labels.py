"""What a response map's label is made of."""

import numpy as np
import pandas as pd
import pytest

from deixis.imaging.letterbox import Letterbox
from deixis.imaging.masks import encode_mask
from stages.write_map_labels import MapLabelParams, finished, read_map

SIDE = 32
FRAME = Letterbox(SIDE, SIDE, SIDE)
CARD = {"map_teacher": "toy", "sha256": "0", "model": {}}


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    pixels = np.zeros((SIDE, SIDE), bool)
    pixels[top:bottom, left:right] = True
    return pixels


NEAR, FAR = rectangle(2, 4, 10, 12), rectangle(20, 4, 30, 20)


def test_the_box_of_the_map_stands_beside_that_of_the_chosen_mask(tmp_path):
    scores = np.where(rectangle(2, 4, 10, 12), 2.0, -1.0) + rectangle(20, 4, 30, 20) * 2.0
    answer = read_map(scores.astype(np.float32), FRAME, tmp_path / "unread.png", walks=False)
    table = pd.DataFrame([answer]).assign(prompted_mask=[encode_mask(rectangle(1, 1, 12, 15))])
    label = finished(table, MapLabelParams(mask="segmenter"), CARD).iloc[0]
    assert (label["map_box"], label["box"]) == ([2, 4, 10, 12], [1, 1, 12, 15])


def test_a_map_that_responds_nowhere_has_no_box(tmp_path):
    assert read_map(np.full((SIDE, SIDE), -1.0), FRAME, tmp_path / "unread.png", walks=False)["map_box"] is None


@pytest.mark.parametrize(
    ("proposals", "expected"),
    [([FAR, NEAR], NEAR), ([FAR], FAR), ([], None)],
    ids=["the one at the peak", "none is there", "no proposal"],
)
def test_a_proposal_is_missing_only_where_the_image_has_none(tmp_path, proposals, expected):
    scores = np.where(NEAR, 2.0, -1.0).astype(np.float32)
    answer = read_map(scores, FRAME, tmp_path / "unread.png", walks=False, proposals=proposals)
    table = pd.DataFrame([answer])
    label = finished(table, MapLabelParams(mask="proposal"), CARD).iloc[0]
    assert label["mask"] == (None if expected is None else encode_mask(expected))
    assert (label["accept"], label["reason"]) == ((False, "no mask") if expected is None else (True, ""))
