"""Masks of boxes from few polygons: what is learnt, of which images, and what is refused."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from deixis.core.checkpoints import save_checkpoint
from deixis.core.config import read_section
from deixis.core.errors import ConfigError, DataError
from deixis.core.runtime import seed_everything
from models.detectors.yolov3 import YOLOv3, YOLOv3Config
from models.detectors.yolox import YOLOX, YOLOXConfig
from models.frozen.segmenters import load_segmenter
from models.segmenters.crop_masks import CropMasks, CropMasksConfig, expected_iou
from stages.pretrain_crop_masks import jittered, pretrain_crop_masks, training_images

CPU = torch.device("cpu")
SIDE = 96
TRAIN, VAL = range(16), range(16, 20)
SETTINGS = {
    "seed": 0,
    "datasets": {"photos": {"images_from": "coco_train2017"}},
    "crop_masks": {
        "model": {"side": 64, "width": 16},
        "recipe": {"epochs": 6, "batch_size": 8, "lr": 5e-3, "min_lr": 5e-5, "warmup_epochs": 0.5, "clip_norm": 1.0},
    },
}


def triangle(rng: np.random.Generator) -> tuple[list[float], np.ndarray]:
    """A polygon whose box it half fills, and its pixels."""
    left, top = rng.integers(4, 30, 2)
    width, height = rng.integers(40, 60, 2)
    corners = [left, top + height, left + width, top + height, left, top]
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    inside = (columns > left) & (rows < top + height) & ((columns - left) / width < (rows - top) / height)
    return [float(corner) for corner in corners], inside


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A raw folder of dark triangles on a light ground, a table of pairs, a YOLOX of drawn weights, settings."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    (folder / "raw/images").mkdir(parents=True)
    images, annotations = [], []
    for number in (*TRAIN, *VAL):
        corners, inside = triangle(rng)
        pixels = rng.integers(140, 256, (SIDE, SIDE, 3))
        pixels[inside] = rng.integers(0, 100, 3)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"raw/images/{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
        box = [corners[0], corners[5], corners[2] - corners[0], corners[1] - corners[5]]
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": box, "segmentation": [corners]})
        annotations.append({"id": 100 + number, "image_id": number, "category_id": 1, "bbox": box})  # without a mask
    (folder / "raw/instances.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    splits = ["train"] * len(TRAIN) + ["val"] * len(VAL)
    pd.DataFrame({"image_id": [*TRAIN, *VAL], "split": splits}).to_parquet(folder / "pairs.parquet")
    seed_everything(0)
    config = YOLOXConfig(input_size=64)
    save_checkpoint(YOLOX(config), folder / "detector", config={"kind": "yolox", "model": asdict(config)})
    YAML().dump(SETTINGS, folder / "params.yaml")
    return folder


def train(made: Path, out: Path, *, detector: str = "detector") -> None:
    pretrain_crop_masks(
        raw=made / "raw", pairs=made / "pairs.parquet", detector=made / detector, dataset="photos", out=out,
        params=made / "params.yaml", device="cpu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(made, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("weights") / "segmenter"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out.parent)
        train(made, out)
    return out


def test_it_draws_what_a_box_half_holds(made, trained):
    """Of images that it has not seen: the triangle, where the box itself has an IoU of a half."""
    model = load_segmenter(trained, CPU)
    ious = []
    for pixels, box, mask in (triangle_of(made, number) for number in VAL):
        drawn, _ = model.segment(pixels, box[None])
        ious.append((drawn[0] & mask).sum() / (drawn[0] | mask).sum())
    assert np.mean(ious) > 0.8


def triangle_of(made: Path, number: int) -> tuple[np.ndarray, torch.Tensor, np.ndarray]:
    pixels = np.array(Image.open(made / f"raw/images/{number}.png"))
    annotations = json.loads((made / "raw/instances.json").read_text())["annotations"]
    left, top, width, height = next(row["bbox"] for row in annotations if row["id"] == number)
    return pixels, torch.tensor([left, top, left + width, top + height]), pixels.max(2) < 100


def test_it_learns_of_training_images_alone_and_its_card_says_so(trained):
    assert sorted(pd.read_parquet(trained / "training_images.parquet")["image_id"]) == [*TRAIN]
    card = json.loads((trained / "config.json").read_text())
    assert (card["kind"], card["labels"], card["images_from"]) == ("crop_masks", "mask", "coco_train2017")


def test_an_image_of_two_splits_is_not_for_training(tmp_path):
    table = pd.DataFrame({"image_id": [1, 1, 2, 3], "split": ["train", "val", "train", "testA"]})
    table.to_parquet(tmp_path / "pairs.parquet")
    assert training_images(tmp_path / "pairs.parquet") == {2}


def test_the_trunk_stays_the_detector_s(made, trained):
    model = load_segmenter(trained, CPU)
    assert isinstance(model, CropMasks)
    frozen = torch.nn.Module.state_dict(model.trunk)
    seed_everything(0)
    drawn = YOLOX(YOLOXConfig(input_size=64)).backbone.state_dict()
    assert frozen.keys() == drawn.keys()
    assert all(torch.equal(frozen[name], drawn[name]) for name in frozen)


@pytest.mark.parametrize("box", [[-20.0, -5.0, 30.0, 40.0], [60.0, 60.0, 140.0, 130.0], [10.0, 10.0, 11.0, 50.0]])
def test_a_mask_lies_within_its_box_and_the_image(trained, box):
    model = load_segmenter(trained, CPU)
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    masks, quality = model.segment(pixels, torch.tensor([box]))
    rows, columns = masks[0].nonzero()
    assert masks.shape == (1, SIDE, SIDE)
    assert 0 <= quality[0] <= 1
    left, top, right, bottom = box
    assert all((left - 1 < columns) & (columns < right) & (top - 1 < rows) & (rows < bottom))


def test_only_boxes_are_understood(trained):
    model, pixels = load_segmenter(trained, CPU), np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ConfigError, match="boxes, not of points"):
        model.segment_points(pixels, torch.zeros(1, 2))
    with pytest.raises(ConfigError, match="boxes, not of proposals"):
        model.propose(pixels, points_per_side=4, min_quality=0.5, min_stability=0.5)


def test_another_detector_is_refused(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = read_section(Path(__file__).parents[2] / "params.yaml", "detector.model", YOLOv3Config)
    save_checkpoint(YOLOv3(config), made / "yolov3", config={"model": asdict(config)})
    with pytest.raises(ConfigError, match=r"a YOLOv3\. crop_masks looks with the trunk of a YOLOX"):
        train(made, tmp_path / "out", detector="yolov3")


def test_an_epoch_of_refs_is_refused_as_in_all_pretraining(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = SETTINGS | {"crop_masks": {"model": {}, "recipe": {"epoch": "refs"}}}
    YAML().dump(settings, tmp_path / "params.yaml")
    with pytest.raises(ConfigError, match="crop_masks: its recipe says epoch: refs"):
        pretrain_crop_masks(
            raw=made / "raw", pairs=made / "pairs.parquet", detector=made / "detector", dataset="photos",
            out=tmp_path / "out", params=tmp_path / "params.yaml", device="cpu",
        )  # fmt: skip


def test_a_set_without_masks_is_refused(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = json.loads((made / "raw/instances.json").read_text())
    for row in files["annotations"]:
        row.pop("segmentation", None)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/instances.json").write_text(json.dumps(files))
    with pytest.raises(DataError, match="no training image has an object with a mask"):
        pretrain_crop_masks(
            raw=tmp_path / "raw", pairs=made / "pairs.parquet", detector=made / "detector", dataset="photos",
            out=tmp_path / "out", params=made / "params.yaml", device="cpu",
        )  # fmt: skip


def test_boxes_are_moved_by_a_part_of_their_side():
    boxes = torch.tensor([[10.0, 20.0, 110.0, 40.0]]).repeat(500, 1)
    moved = jittered(boxes, torch.Generator().manual_seed(0))
    centre = (moved[:, :2] + moved[:, 2:]) / 2 - torch.tensor([60.0, 30.0])
    sides = (moved[:, 2:] - moved[:, :2]) / torch.tensor([100.0, 20.0])
    assert 5 < centre[:, 0].abs().max() <= 6 and 1 < centre[:, 1].abs().max() <= 1.2
    assert 1.07 < sides.max() <= 1.0801 and 0.9199 <= sides.min() < 0.93


def test_the_expected_overlap_by_hand():
    """Three likely pixels of 0.9, 0.8, 0.6 and one of 0.4: (0.9 + 0.8 + 0.6) / (3 + 0.4)."""
    probabilities = torch.tensor([[[0.9, 0.8], [0.6, 0.4]]])
    torch.testing.assert_close(expected_iou(probabilities), torch.tensor([2.3 / 3.4]))


def test_cut_outs_hold_what_lies_around_a_box():
    model = CropMasks(CropMasksConfig(side=8, context=2.0))
    image = torch.arange(40.0).expand(1, 40, 40)  # each pixel its column
    square = model.cut(image, torch.tensor([[10.0, 10.0, 18.0, 18.0]]), 8)[0, 0]
    torch.testing.assert_close(square[0], torch.arange(6.5, 22.5, 2))  # columns 6 to 22, two in each
