"""The detector's most confident boxes, as ranking students read them."""

import pandas as pd
import torch

from deixis.batches.features import extract
from stages.list_candidates import list_candidates


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
        [7, 8], encode, scratch=tmp_path / "scratch", out=tmp_path / "detector", meta={"input_size": 64}, batch_size=2,
        shard_bytes=10**6,
    )  # fmt: skip
    pd.DataFrame({"image_id": [8, 7], "width": 64, "height": 64}).to_parquet(tmp_path / "images.parquet")
    (tmp_path / "params.yaml").write_text("candidates: {keep_fraction: 0.5}")
    list_candidates(
        images=tmp_path / "images.parquet", features=tmp_path / "detector", out=tmp_path / "detections.parquet",
        params=tmp_path / "params.yaml",
    )  # fmt: skip
    table = pd.read_parquet(tmp_path / "detections.parquet")
    assert table["image_id"].tolist() == [7, 8]
    assert table["boxes"].map(list).tolist() == [[8, 8, 24, 24, 24, 24, 40, 40]] * 2  # the surer cell first
    assert table["categories"].map(list).tolist() == [[0, 1]] * 2
