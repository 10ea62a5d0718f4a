"""Turning images left to right: box, image, frame and words turn together."""

from dataclasses import replace

import pytest
import torch

from deixis.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from deixis.language.tokens import encode
from models.student_blocks.mirror import mirror, mirrored_words
from tests.factories import student_batch

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "bright", "shirt", "upright", "left", "right", "rightmost"]


def turned(batch, share=1.0):
    return mirror(batch, mirrored_words(VOCABULARY), share=share)


def test_b6_a_box_changes_sides():
    batch = student_batch(1, side=500)
    corners = torch.tensor([[100.0, 50, 300, 200]])
    mirrored = turned(replace(batch, boxes_norm=xyxy_to_cxcywh(corners) / 500))
    assert (cxcywh_to_xyxy(mirrored.boxes_norm) * 500)[0].tolist() == pytest.approx([200, 50, 400, 200], abs=1e-3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("bright shirt upright left", "bright shirt upright right", id="T6"),
        pytest.param("right shirt", "left shirt", id="the other way"),
        pytest.param("rightmost shirt", "[UNK] shirt", id="a side that nobody named"),
    ],
)
def test_words_that_name_a_side_change_and_no_others(text, expected):
    ids = mirrored_words(VOCABULARY)[encode([text], VOCABULARY, 6)[0]]
    assert [VOCABULARY[token] for token in ids.tolist() if token] == expected.split()


def test_what_lies_under_a_box_still_does():
    batch = student_batch(1)
    squares = torch.zeros_like(batch.squares)
    squares[0, :, 10:20, 5:25] = 255
    boxes = xyxy_to_cxcywh(torch.tensor([[5.0, 10, 25, 20]])) / 64
    mirrored = turned(replace(batch, squares=squares, boxes_norm=boxes))
    left, top, right, bottom = (64 * cxcywh_to_xyxy(mirrored.boxes_norm))[0].round().int().tolist()
    assert (mirrored.squares[0, :, top:bottom, left:right] == 255).all()
    assert (mirrored.squares == 255).sum() == 3 * 10 * 20 == 3 * (bottom - top) * (right - left)


def test_phrases_of_an_image_turn_with_it_and_others_stay():
    torch.manual_seed(0)
    batch = student_batch(64, side=8)
    batch = replace(batch, tokens=torch.full((64, 3), 6), image_of=torch.arange(64) // 2)
    mirrored = turned(batch, share=0.5)
    changed = (mirrored.squares != batch.squares).flatten(1).any(1)[batch.image_of]
    assert torch.equal(mirrored.tokens[:, 0] == 7, changed)
    assert torch.equal((mirrored.boxes_norm != batch.boxes_norm)[:, 0], changed)
    assert 0.25 < changed.float().mean() < 0.75


def test_turning_twice_changes_nothing():
    batch = replace(student_batch(2), content_xyxy=torch.tensor([[3.0, 0.0, 40.0, 64.0]]).repeat(2, 1))
    again = turned(turned(batch))
    torch.testing.assert_close(again.boxes_norm, batch.boxes_norm)
    assert torch.equal(again.squares, batch.squares) and torch.equal(again.content_xyxy, batch.content_xyxy)
    assert turned(batch).content_xyxy[0].tolist() == [24.0, 0.0, 61.0, 64.0]
