"""The boxes that a teacher chose from, as ranking students read them."""

import torch

from deixis.features import extract
from deixis.imaging.letterbox import Letterbox
from stages.write_pseudo_labels import _candidates


def test_candidates_carry_the_category_of_the_box_that_stands_for_its_cell(tmp_path):
    boxes = torch.zeros(2, 4, 3, 7)  # images, cells, boxes of a cell; centre, size, objectness, two categories
    boxes[..., :4] = torch.tensor([32.0, 32, 16, 16])
    boxes[:, 1, :, 4] = torch.tensor([0.3, 0.9, 0.3])
    boxes[:, 3, :, 4] = torch.tensor([0.6, 0.7, 0.6])
    boxes[:, 1, :, 5:] = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1]])
    boxes[:, 3, :, 5:] = torch.tensor([0.6, 0.4])
    boxes[:, 3, 1, :2] = 16.0

    def encode(image_ids):
        return {"boxes": boxes[: len(image_ids)].numpy()}

    extract(
        [7, 8], encode, scratch=tmp_path / "scratch", out=tmp_path / "detector", meta={}, batch_size=2,
        shard_bytes=10**6,
    )  # fmt: skip
    frames = {image_id: Letterbox(64, 64, 64) for image_id in (7, 8)}
    found = _candidates(tmp_path, frames, 0.5)
    assert found["image_id"].tolist() == [7, 8]
    assert found["boxes"].tolist() == [[8, 8, 24, 24, 24, 24, 40, 40]] * 2  # the surer cell first
    assert found["categories"].tolist() == [[0, 1]] * 2
