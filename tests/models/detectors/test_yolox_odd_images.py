"""Odd photographs on their way into YOLOX: of one pixel, of a line, grey, with alpha, turned; all give a square."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from deixis.anchors import Survivors
from deixis.batches.survivors import surviving
from deixis.imaging.decoding import ORIENTATION, open_image
from deixis.imaging.images import ImageReader
from deixis.types import SCALES
from models.detectors.yolox import YOLOX, YOLOXConfig

SIDE = 64
RULE = Survivors(most=20)


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return YOLOX(YOLOXConfig(width=0.125, num_classes=3, input_size=SIDE)).eval()


def save(folder: Path, name: str) -> Path:
    """One odd image."""
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, shape, dtype=np.uint8)

    path = folder / f"{name}.png"
    if name == "turned":
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        pixels = np.zeros((20, 40, 3), np.uint8)
        pixels[:, :20, 0] = 255
        Image.fromarray(pixels).save(path, exif=exif)
        return path
    images = {
        "one-pixel": noise(1, 1, 3), "very-wide": noise(10, 10000, 3), "very-tall": noise(10000, 10, 3),
        "a-line": noise(1, 300, 3), "grey": noise(30, 50), "grey-alpha": noise(30, 50, 2), "alpha": noise(30, 50, 4),
        "deep": (noise(30, 50).astype(np.uint16) * 257), "black": np.zeros((30, 50, 3), np.uint8),
    }  # fmt: skip
    Image.fromarray(images[name]).save(path)
    return path


def reader(path: Path) -> ImageReader:
    width, height = open_image(path).size
    table = pd.DataFrame({"image_id": [0], "path": [path.name], "width": [width], "height": [height]})
    return ImageReader(table, root=path.parent, side=SIDE, framing=YOLOX.framing)


SIZES = {
    "one-pixel": (64, 64), "very-wide": (64, 1), "very-tall": (1, 64), "a-line": (64, 1), "grey": (64, 38),
    "grey-alpha": (64, 38), "alpha": (64, 38), "deep": (64, 38), "black": (64, 38), "turned": (64, 32),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
@torch.no_grad()
def test_every_image_gives_a_square_and_finite_boxes(name, detector, tmp_path):
    images = reader(save(tmp_path, name))
    square = images.squares([0])
    width, height = SIZES[name]
    assert square.shape == (1, 3, SIDE, SIDE) and square.dtype == torch.uint8
    assert (square[..., height:, :] == 114).all() and (square[..., width:] == 114).all()
    assert name == "one-pixel" or not (square[..., :height, :width] == 114).all()
    found = detector.detect(square, scales=SCALES)
    left = surviving(found, square, RULE)
    assert found.boxes.isfinite().all() and all(x.isfinite().all() for x in found.maps)
    assert left.boxes.shape == (1, 20, 1, 8) and left.colours is not None and left.colours.isfinite().all()
    boxes = images.letterbox(0).boxes_to_image(left.boxes[0, :, 0, :4])
    assert boxes.isfinite().all()


def test_grey_and_transparent_images_are_seen_as_people_see_them(tmp_path):
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((8, 8, 4), (255, 0, 0, 0), np.uint8)).save(tmp_path / "clear.png")
    assert (reader(tmp_path / "grey.png").squares([0]) == 200).all()
    assert (reader(tmp_path / "clear.png").squares([0]) == 255).all()  # on white


def test_pixels_are_read_as_they_are_stored(tmp_path):
    """Where the camera was held otherwise, commands turn what they are given; annotations are of stored pixels."""
    square = reader(save(tmp_path, "turned")).squares([0])[0]
    assert (square[0, :32, :30] == 255).all() and (square[0, :32, 34:] == 0).all()


def test_zooms_and_stretches_keep_the_framing(tmp_path):
    path = save(tmp_path, "black")
    table = pd.DataFrame({"image_id": [0], "path": [path.name], "width": [50], "height": [30]})
    smaller = ImageReader(table, root=tmp_path, side=SIDE, zoom=0.5, framing=YOLOX.framing).squares([0])
    assert (smaller[..., :19, :32] == 0).all() and (smaller[..., 19:, :] == 114).all()
    stretched = ImageReader(table, root=tmp_path, side=SIDE, stretch=True, framing=YOLOX.framing).squares([0])
    assert (stretched == 0).all()
