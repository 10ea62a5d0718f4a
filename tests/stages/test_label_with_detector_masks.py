"""Labels with the detector's masks: that of the very box which the teacher chose, drawn for the listed candidates."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from deixis.batches.features import extract
from deixis.core.checkpoints import save_checkpoint
from deixis.core.config import read_section
from deixis.core.errors import DataError
from deixis.core.run_lists import RunParams
from deixis.imaging.masks import decode_mask, encode_mask
from models.detectors.prototype_masks import PrototypeMasks, PrototypeMasksConfig
from stages.draw_candidates import draw_candidates
from stages.label_with_detector_masks import KEPT_COLUMNS, label_with_detector_masks
from stages.list_candidates import list_candidates

ROOT = Path(__file__).parents[2]
LEFT, RIGHT = [0.0, 0.0, 4.0, 6.0], [5.0, 1.0, 8.0, 6.0]


def rectangle(box) -> np.ndarray:
    pixels = np.zeros((6, 8), bool)
    left, top, right, bottom = map(int, box)
    pixels[top:bottom, left:right] = True
    return pixels


@pytest.fixture
def folder(tmp_path):
    """Two images with the same two candidates, in opposite order; the third label's box is none of them."""
    boxes = [LEFT + RIGHT, RIGHT + LEFT]
    pd.DataFrame({"image_id": [1, 2], "boxes": boxes}).to_parquet(tmp_path / "detections.parquet")
    masks = [[encode_mask(rectangle(box)) for box in pair] for pair in ((LEFT, RIGHT), (RIGHT, LEFT))]
    pd.DataFrame({"image_id": [1, 2], "masks": masks}).to_parquet(tmp_path / "masks.parquet")
    table = pd.DataFrame({column: ["x"] * 3 for column in KEPT_COLUMNS})
    table["sample_id"], table["image_id"] = [10, 11, 12], [1, 2, 2]
    table["score"], table["margin"], table["accept"] = 1.0, 1.0, True
    table["box"] = table["runner_up"] = [RIGHT, RIGHT, [5.0, 1.0, 8.0, 5.9]]
    table["mask"] = [encode_mask(np.ones((6, 8), bool))] * 3
    table.to_parquet(tmp_path / "labels.parquet")
    (tmp_path / "card.json").write_text('{"teacher": "dvin"}')
    return tmp_path


def relabel(folder) -> pd.DataFrame:
    label_with_detector_masks(
        labels=folder / "labels.parquet", candidates=folder / "detections.parquet", masks=folder / "masks.parquet",
        card=folder / "card.json", out=folder / "out.parquet",
    )  # fmt: skip
    return pd.read_parquet(folder / "out.parquet")


def test_each_label_gets_the_mask_of_its_box_and_keeps_the_segmenters(folder, capsys):
    labels = relabel(folder)
    assert (folder / "config.json").read_text().split() == ["{", '"teacher":', '"dvin"', "}"]  # for its evaluation
    assert labels["sample_id"].tolist() == [10, 11, 12]
    assert [decode_mask(mask).tolist() for mask in labels["mask"][:2]] == [rectangle(RIGHT).tolist()] * 2
    assert labels["mask"][2] is None
    assert labels["mask_source"].tolist() == ["detector", "detector", "none"]
    assert all(decode_mask(mask).all() for mask in labels["prompted_mask"])
    assert "1 of 3 labels have no mask" in capsys.readouterr().err


def test_a_teacher_of_masks_keeps_the_prompted_ones_that_it_had(folder):
    table = pd.read_parquet(folder / "labels.parquet")
    table.assign(prompted_mask=[encode_mask(rectangle(LEFT))] * 3).to_parquet(folder / "labels.parquet")
    assert decode_mask(relabel(folder)["prompted_mask"][0]).tolist() == rectangle(LEFT).tolist()


def test_a_missing_file_says_which_stage_writes_it(folder):
    (folder / "masks.parquet").unlink()
    with pytest.raises(DataError, match=r"masks.parquet: missing. It is written by draw_candidates; run: dvc repro"):
        relabel(folder)


def test_an_image_without_masks_is_refused(folder):
    pd.read_parquet(folder / "masks.parquet").iloc[:1].to_parquet(folder / "masks.parquet")
    with pytest.raises(DataError, match=r"has no image 2, .* Run: dvc repro -f draw_candidates"):
        relabel(folder)


def test_as_many_masks_as_boxes(folder):
    drawn = pd.read_parquet(folder / "masks.parquet")
    drawn.assign(masks=drawn["masks"].map(lambda masks: masks[:1])).to_parquet(folder / "masks.parquet")
    with pytest.raises(DataError, match="1 masks for the 2 boxes of image 1"):
        relabel(folder)


@pytest.fixture
def listed(tmp_path):
    """Stored features of two images, a mask head, and the list of candidates."""
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(2, 16, 4, 7, generator=generator)
    boxes[..., :2] = 8 + 48 * boxes[..., :2]
    boxes[..., 2:4] = 8 + 16 * boxes[..., 2:4]
    arrays = {
        "coarse": torch.randn(2, 16, 4, 4, generator=generator).numpy(),
        "fine": torch.randn(2, 8, 16, 16, generator=generator).numpy(),
        "boxes": boxes.numpy(),
    }
    extract(
        [7, 8], lambda ids: {name: array[: len(ids)] for name, array in arrays.items()}, scratch=tmp_path / "scratch",
        out=tmp_path / "features", meta={"input_size": 64}, batch_size=2, shard_bytes=10**6,
    )  # fmt: skip
    torch.manual_seed(0)
    config = {"detector_channels": (16, 8, 8), "prototypes": 4, "width": 8}
    head = PrototypeMasks(PrototypeMasksConfig(**config)).eval()
    torch.nn.init.zeros_(head.coefficients[1].weight)
    torch.nn.init.ones_(head.coefficients[1].bias)
    torch.nn.init.constant_(head.prototypes[3][1].bias, 9.0)  # everything is mask: what is left is the box
    save_checkpoint(head, tmp_path / "head", config={"model": config})
    pd.DataFrame({"image_id": [8, 7], "width": 64, "height": 48}).to_parquet(tmp_path / "images.parquet")
    (tmp_path / "params.yaml").write_text("candidates: {keep_fraction: 0.25}")
    list_candidates(
        images=tmp_path / "images.parquet", features=tmp_path / "features", out=tmp_path / "detections.parquet",
        params=tmp_path / "params.yaml",
    )  # fmt: skip
    return tmp_path


def draw(folder) -> pd.DataFrame:
    draw_candidates(
        images=folder / "images.parquet", features=folder / "features", candidates=folder / "detections.parquet",
        head=folder / "head", out=folder / "masks.parquet", params=folder / "params.yaml", device="cpu",
    )  # fmt: skip
    return pd.read_parquet(folder / "masks.parquet")


def test_candidates_are_drawn_in_the_order_of_the_list_and_in_stored_pixels(listed):
    drawn = draw(listed).set_index("image_id")["masks"]
    for image_id, flat in pd.read_parquet(listed / "detections.parquet")[["image_id", "boxes"]].itertuples(index=False):
        boxes = np.array(flat).reshape(-1, 4)
        assert len(drawn[image_id]) == len(boxes) == 4
        for box, mask in zip(boxes, drawn[image_id], strict=True):
            pixels = decode_mask(mask)
            x, y = np.arange(64) + 0.5, np.arange(48) + 0.5
            inside = ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))
            assert np.array_equal(pixels, inside)


def test_a_list_of_other_candidates_is_refused(listed):
    table = pd.read_parquet(listed / "detections.parquet")
    table.assign(boxes=table["boxes"].map(lambda flat: flat[::-1])).to_parquet(listed / "detections.parquet")
    with pytest.raises(DataError, match=r"lists 4 boxes of image 7, not the 4 of .* dvc repro -f list_candidates"):
        draw(listed)
    table.iloc[1:].to_parquet(listed / "detections.parquet")
    with pytest.raises(DataError, match="lists 0 boxes of image 7"):
        draw(listed)


def test_the_report_lists_them_after_the_teachers_and_times_no_teacher_twice():
    run = replace(
        read_section(ROOT / "params.yaml", "run", RunParams),
        teachers=("refclip", "dvin"), map_teachers=(), students=("simrec",), student_teachers=("dvin",),
        redrawn=("dvin",), relabelled=("dvin-res",), reference_datasets=(),
    )  # fmt: skip
    assert run.predictors("scenes_plus") == ["refclip", "dvin", "dvin-res", "dvin-simrec"]
    assert run.timed("scenes_plus") == ["refclip", "dvin", "dvin-simrec"]
    assert run.written_again() == ["dvin-res"]
