"""Images in a published detector's square: scaled, placed and padded as its own loader does, and boxes come back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deixis.imaging.letterbox import CENTRED, Framing, Letterbox, resize_bilinear

YOLOX = Framing(place="top_left", pad=114, resize="bilinear")
SIDES = st.integers(1, 8000)
RNG = np.random.default_rng(0)


def between_four(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """OpenCV's rule, pixel by pixel: centres lie at halves, the nearest four weigh by distance, edges repeat."""
    before_h, before_w = pixels.shape[:2]
    out = np.zeros((height, width, 3))
    for row in range(height):
        for column in range(width):
            y, x = (row + 0.5) * before_h / height - 0.5, (column + 0.5) * before_w / width - 0.5
            up, left = int(np.floor(y)), int(np.floor(x))
            for below in (0, 1):
                for beside in (0, 1):
                    weight = abs(1 - below - (y - up)) * abs(1 - beside - (x - left))
                    at = min(max(up + below, 0), before_h - 1), min(max(left + beside, 0), before_w - 1)
                    out[row, column] += weight * pixels[at]
    return out


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param((31, 23), (12, 9), id="smaller"),
        pytest.param((40, 40), (4, 4), id="a-tenth"),
        pytest.param((20, 14), (10, 7), id="a-half"),
        pytest.param((5, 4), (17, 13), id="larger"),
        pytest.param((9, 31), (20, 8), id="both"),
        pytest.param((1, 1), (3, 5), id="one-pixel"),
        pytest.param((1000, 1), (10, 1), id="a-line"),
        pytest.param((8, 8), (8, 8), id="the-same"),
    ],
)
def test_scaled_as_opencv_scales(before, after):
    pixels = RNG.integers(0, 256, (before[1], before[0], 3), dtype=np.uint8)
    scaled = resize_bilinear(pixels, *after)
    assert scaled.dtype == np.uint8 and scaled.shape == (after[1], after[0], 3)
    assert np.abs(scaled - between_four(pixels, *after)).max() <= 0.51  # rounded


def test_scaled_without_smoothing_where_so_framed():
    stripes = np.zeros((90, 90, 3), np.uint8)
    stripes[:, 1::3] = 255  # the middle column of three is what a shrink to a third meets
    image = Image.fromarray(stripes)
    assert (Letterbox(90, 90, 30, framing=YOLOX).apply(image) == 255).all()
    assert (Letterbox(90, 90, 30).apply(image)[:, 2:-2] < 160).all()


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        pytest.param((640, 480), 416, (416, 312), id="640x480"),
        pytest.param((427, 640), 416, (277, 416), id="277.55"),
        pytest.param((500, 375), 416, (416, 312), id="500x375"),
        pytest.param((640, 424), 640, (640, 424), id="fits-as-it-is"),
        pytest.param((48, 27), 416, (416, 233), id="the-last-bit-below-234"),
        pytest.param((10000, 10), 416, (416, 1), id="never-nothing"),
        pytest.param((10, 10000), 416, (1, 416), id="upright"),
        pytest.param((1, 1), 416, (416, 416), id="one-pixel"),
    ],
)
def test_sizes_are_cut_to_whole_pixels(size, side, expected):
    frame = Letterbox(*size, side, framing=YOLOX)
    assert frame.resized_wh == expected and frame.offset_xy == (0, 0)


@settings(deadline=None, derandomize=True)
@given(width=st.integers(20, 4000), height=st.integers(20, 4000), side=st.sampled_from([416, 640]))
def test_sizes_are_the_releases(width, height, side):
    ratio = min(side / height, side / width)
    expected = max(int(width * ratio), 1), max(int(height * ratio), 1)
    assert Letterbox(width, height, side, framing=YOLOX).resized_wh == expected


def test_an_image_lies_at_the_top_left_on_grey_114():
    pixels = RNG.integers(0, 256, (30, 60, 3), dtype=np.uint8)
    square = Letterbox(60, 30, 40, framing=YOLOX).apply(Image.fromarray(pixels))
    assert np.abs(square[:20] - between_four(pixels, 40, 20)).max() <= 0.51
    assert (square[20:] == 114).all()
    upright = Letterbox(30, 60, 40, framing=YOLOX).apply(Image.fromarray(pixels.transpose(1, 0, 2)))
    assert (upright[:, 20:] == 114).all() and (upright[:, :20] != 114).any()


def test_without_a_word_an_image_lies_centred_on_grey_127():
    assert Letterbox(60, 30, 40).framing == CENTRED == Framing("centre", 127, "antialiased")


def test_boxes_in_and_out():
    frame = Letterbox(640, 480, 416, framing=YOLOX)
    image, square = torch.tensor([[0.0, 0.0, 640.0, 480.0]]), torch.tensor([[0.0, 0.0, 416.0, 312.0]])
    torch.testing.assert_close(frame.boxes_to_input(image), square)
    torch.testing.assert_close(frame.boxes_to_image(square), image)
    below = frame.boxes_to_image(torch.tensor([[104.0, 312.0, 208.0, 416.0]]))
    torch.testing.assert_close(below, torch.tensor([[160.0, 480.0, 320.0, 640.0]]))  # padding; nothing is clipped


@settings(deadline=None, derandomize=True)
@given(width=SIDES, height=SIDES, shares=st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_boxes_survive_the_round_trip(width, height, shares):
    frame = Letterbox(width, height, 416, framing=YOLOX)
    boxes = torch.tensor([shares]) * torch.tensor([width, height] * 2)
    inside = frame.boxes_to_input(boxes)
    assert inside.min() >= 0 and inside.max() <= 416.01
    assert (frame.boxes_to_image(inside) - boxes).abs().max() <= 0.05


def test_masks_go_the_same_way():
    frame = Letterbox(40, 20, 20, framing=YOLOX)
    mask = np.zeros((20, 40), bool)
    mask[:10, 20:] = True
    square = frame.mask_to_input(mask)
    assert square[:5, 10:].all() and not square[5:].any() and not square[:, :10].any()
    assert ((frame.mask_to_image(square) > 0.5) == mask).all()
