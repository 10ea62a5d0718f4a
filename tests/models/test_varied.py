"""Views of training images: a target stays where its pixels are, in one of a few places."""

from dataclasses import replace

import torch

from deixis.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from deixis.types import StudentBatch
from models.student_blocks.mirror import mirrored_words
from models.student_blocks.varied import VariedConfig, varied, viewer
from tests.factories import student_batch

WORDS = mirrored_words(["[PAD]", "[UNK]", "[CLS]", "left", "right"])


def with_target(count: int) -> StudentBatch:
    """Black images with a white target."""
    batch = student_batch(count)
    squares = torch.zeros_like(batch.squares)
    squares[:, :, 10:30, 5:45] = 255
    boxes = xyxy_to_cxcywh(torch.tensor([[5.0, 10, 45, 30]])) / 64
    return replace(batch, squares=squares, boxes_norm=boxes.expand(count, 4), tokens=torch.zeros_like(batch.tokens))


def test_what_lies_under_a_box_still_does():
    batch = varied(with_target(16), WORDS, VariedConfig(mirror_share=0.5, placings=5, scale_range=(0.6, 1.0)))
    assert batch.boxes_norm is not None
    corners = (64 * cxcywh_to_xyxy(batch.boxes_norm)).round().int().tolist()
    for square, (left, top, right, bottom) in zip(batch.squares, corners, strict=True):
        assert square[:, top + 1 : bottom - 1, left + 1 : right - 1].min() > 254
        bright = (square > 127).sum() / 3
        assert abs(bright - (right - left) * (bottom - top)) < 0.2 * bright
    assert len({tuple(box) for box in corners}) > 5  # places, turned and not
    assert (batch.content_xyxy[:, 2:] - batch.content_xyxy[:, :2] <= 64).all()


def test_a_mask_goes_where_its_box_goes():
    given = with_target(16)
    masks = (given.squares[:, 0] > 127).float()
    batch = varied(replace(given, masks=masks), WORDS, VariedConfig(mirror_share=0.5, placings=5))
    assert batch.masks is not None
    shown = batch.squares[:, 0].float() / 255
    of_target = (batch.masks > 0) | (shown > 0.5)  # not so the grey round the image
    assert ((batch.masks - shown).abs() * of_target).max() < 0.01
    assert not torch.equal(batch.masks, masks)


def test_places_are_few_and_always_the_same():
    config = VariedConfig(placings=2)
    batches = [varied(with_target(32), WORDS, config) for _ in range(2)]
    boxes = [batch.boxes_norm.tolist() for batch in batches if batch.boxes_norm is not None]
    assert len({tuple(box) for of_batch in boxes for box in of_batch}) == 2


def test_a_viewer_shows_what_the_batch_holds():
    config = VariedConfig(mirror_share=1.0, placings=1)
    given = with_target(4)
    batch = varied(given, WORDS, config)
    torch.testing.assert_close(viewer(config)(given.squares, 1), batch.squares)  # turned, and in the one place
    assert not torch.equal(viewer(config)(given.squares, 0), batch.squares)
    assert torch.equal(viewer(VariedConfig())(given.squares, 0), given.squares)


def test_by_default_nothing_changes():
    given = with_target(3)
    assert varied(given, WORDS, VariedConfig()) is given
