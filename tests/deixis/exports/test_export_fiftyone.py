"""FiftyOne's form: boxes as shares, and masks that its own rounding puts back where they were.

FiftyOne itself needs a database server; `tests/formats` reads the same files with it where it is installed.
"""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deixis.exports.fiftyone import pixel_shares, write
from deixis.exports.types import ExportedImage
from tests.deixis.exports.labelled import (
    HARD_TEXT,
    HEIGHT,
    PATHS,
    WIDTH,
    exported,
    hard_rows,
    l_shape,
    ring_and_part,
    write_images,
)


def rendered(detection, width: int, height: int) -> np.ndarray:
    """As FiftyOne draws it: corners are multiplied by the sides and lose their fraction."""
    x, y, wide, high = detection["bounding_box"]
    left, top, right, bottom = int(width * x), int(height * y), int(width * (x + wide)), int(height * (y + high))
    mask = np.load(io.BytesIO(zlib.decompress(base64.b64decode(detection["mask"]))), allow_pickle=False)
    assert mask.shape == (bottom - top, right - left)
    pixels = np.zeros((height, width), bool)
    pixels[top:bottom, left:right] = mask
    return pixels


@given(st.data())
def test_shares_of_whole_pixels_are_cut_back_to_the_same_pixels(data):
    width, height = data.draw(st.integers(1, 5000)), data.draw(st.integers(1, 5000))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    x, y, wide, high = pixel_shares((left, top, right, bottom), ExportedImage(1, "a.jpg", width, height, 0))
    assert (int(width * x), int(height * y)) == (left, top)
    assert (int(width * (x + wide)), int(height * (y + high))) == (right, bottom)
    np.testing.assert_allclose([x, x + wide], [left / width, right / width], atol=1e-12)


def test_samples_say_what_the_labels_say(tmp_path):
    root = write_images(tmp_path / "images")
    out = exported(write, tmp_path, hard_rows(), image_root=root)
    assert "version" not in json.loads((out / "metadata.json").read_text())
    first, second = json.loads((out / "samples.json").read_text())["samples"]
    assert first["filepath"] == str(root / PATHS[7])
    assert (first["tags"], second["tags"]) == (["train"], ["val"])
    box = first["boxes"]["detections"][0]
    expected = [50.123 / 90, 20 / 60, 39.877 / 90, 40 / 60]
    np.testing.assert_allclose(box["bounding_box"], expected, atol=1e-6)
    assert (box["expressions"], box["confidence"], box["sample_ids"]) == ([HARD_TEXT], 9.25, ["s/1"])
    masks = first["masks"]["detections"]
    assert (rendered(masks[0], WIDTH, HEIGHT) == l_shape()).all()
    assert (rendered(masks[1], WIDTH, HEIGHT) == ring_and_part()).all()
    assert second["masks"]["detections"] == []


@pytest.mark.parametrize("side", [100])
def test_the_naive_share_would_lose_a_pixel(side):
    assert int(side * (29 / side)) == 28
    assert int(side * pixel_shares((29, 0, 30, 1), ExportedImage(1, "a.jpg", side, side, 0))[0]) == 29
