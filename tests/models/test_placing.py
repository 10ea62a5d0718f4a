"""Images put somewhere on their canvas: boxes go with them, and what was seen once is not looked at again."""

import pytest
import torch

from deixis.boxes import cxcywh_to_xyxy
from models.student_blocks.placing import draw_placing, few_placings, place_boxes, place_squares
from tests.factories import student_batch
from tests.models.test_student_memory import with_memory
from tests.models.test_transvg import padded_batch, transvg


def placed(squares, content, boxes, image_of, *, scale_range):
    placing = draw_placing(len(squares), scale_range)
    moved = place_boxes(content, boxes, image_of, placing, side=squares.shape[-1])
    return place_squares(squares, placing), *moved


def bright_rectangles(count: int, side: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """Black squares with one white rectangle each, and its cx, cy, w, h over the side."""
    generator = torch.Generator().manual_seed(4)
    squares = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    boxes = []
    for square in squares:
        left, top = torch.randint(4, side // 2, (2,), generator=generator).tolist()
        width, height = torch.randint(12, side // 2 - 4, (2,), generator=generator).tolist()
        square[:, top : top + height, left : left + width] = 255
        boxes.append([left + width / 2, top + height / 2, width, height])
    return squares, torch.tensor(boxes) / side


def lit_box(square: torch.Tensor) -> list[float]:
    lit = square[0] > 180
    rows, columns = lit.any(1).nonzero().flatten(), lit.any(0).nonzero().flatten()
    return [float(v) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]


def test_placing_keeps_boxes_on_the_right_pixels():
    squares, boxes = bright_rectangles(12)
    content = torch.tensor([[0.0, 0.0, 96.0, 96.0]]).repeat(12, 1)
    torch.manual_seed(5)
    moved, where, moved_boxes = placed(squares, content, boxes, torch.arange(12), scale_range=(0.7, 1.0))
    for row in range(12):
        cx, cy, w, h = (moved_boxes[row] * 96).tolist()
        assert lit_box(moved[row]) == pytest.approx([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], abs=1.0)
    assert (where[:, :2] >= 0).all() and (where[:, 2:] <= 96 + 1e-3).all()
    shares = (where[:, 2] - where[:, 0]) / 96
    assert (shares >= 0.7 - 1e-5).all() and (shares <= 1 + 1e-5).all() and len(shares.unique()) == 12


def test_placing_tells_where_the_image_went():
    squares = torch.full((6, 3, 64, 64), 255, dtype=torch.uint8)
    content, boxes = torch.tensor([[0.0, 0.0, 64.0, 64.0]]).repeat(6, 1), torch.full((6, 4), 0.5)
    torch.manual_seed(6)
    moved, where, _ = placed(squares, content, boxes, torch.arange(6), scale_range=(0.5, 0.8))
    for row in range(6):
        assert lit_box(moved[row]) == pytest.approx(where[row].tolist(), abs=1.0)


def test_placing_by_one_changes_nothing():
    batch = student_batch(2)
    whole = (1.0, 1.0)
    moved, content, boxes = placed(
        batch.squares, batch.content_xyxy, batch.boxes_norm, batch.image_of, scale_range=whole
    )
    torch.testing.assert_close(moved, batch.squares.float(), atol=0.05, rtol=0)
    torch.testing.assert_close(content, batch.content_xyxy)
    torch.testing.assert_close(boxes, batch.boxes_norm)


def test_placing_moves_every_box_with_its_image():
    squares, boxes = bright_rectangles(3)
    content, image_of = torch.tensor([[0.0, 0.0, 96.0, 96.0]]).repeat(3, 1), torch.tensor([0, 1, 1, 0, 2])
    moved, _, moved_boxes = placed(squares, content, boxes[image_of], image_of, scale_range=(0.7, 1.0))
    for image, box in zip(image_of.tolist(), cxcywh_to_xyxy(moved_boxes) * 96, strict=True):
        assert lit_box(moved[image]) == pytest.approx(box.tolist(), abs=1.0)


def test_few_placings_are_always_the_same_and_all_differ():
    torch.manual_seed(8)
    first = few_placings(6, (0.7, 1.0))
    torch.manual_seed(9)
    again = few_placings(6, (0.7, 1.0))
    assert torch.equal(first.scale, again.scale) and torch.equal(first.corner, again.corner)
    assert len(first.scale.unique()) == 6
    assert (first.corner >= 0).all() and (first.corner + first.scale <= 1 + 1e-6).all()


def test_memory_of_placed_images_shows_what_looking_does():
    model = transvg(frozen_backbone=True, placings=2, mirror_share=0.5).train()
    seen = []
    model.normalise.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    batch = padded_batch()
    remembering = with_memory(batch)
    for step in range(6):
        for given in (batch, remembering):
            torch.manual_seed(step)
            model.loss(given)
    torch.testing.assert_close(seen[::2], seen[1::2], rtol=1e-4, atol=1e-5)
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize(
    ("placings", "looks"), [(2, 3 * 2 + 1), (0, 3 * 12)], ids=["two placings, and the sizes", "any placing"]
)
def test_an_image_is_looked_at_once_in_each_placing(placings, looks):
    model, looked = transvg(frozen_backbone=True, placings=placings).train(), []
    model.backbone.stem.register_forward_hook(lambda _, inputs, __: looked.append(len(inputs[0])))
    batch = with_memory(padded_batch())
    for _ in range(12):
        model.loss(batch)
    assert sum(looked) == looks
