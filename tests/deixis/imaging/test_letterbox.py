"""Geometry of the square input, there and back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deixis.boxes import xyxy_to_cxcywh
from deixis.imaging.images import standardise
from deixis.imaging.letterbox import Letterbox

SIDES = st.integers(1, 8000)
SHARES = st.lists(st.floats(0, 1), min_size=4, max_size=4)


@pytest.mark.parametrize(
    ("width", "height", "resized_hw", "offset"),
    [
        pytest.param(640, 480, (312, 416), (0, 52), id="640x480"),
        pytest.param(480, 640, (416, 312), (52, 0), id="480x640"),
        pytest.param(640, 427, (277, 416), (0, 69), id="640x427"),
        pytest.param(333, 500, (416, 277), (69, 0), id="333x500"),
        pytest.param(427, 640, (416, 277), (69, 0), id="427x640"),
        pytest.param(300, 300, (416, 416), (0, 0), id="square"),
    ],
)
def test_size_and_offset(width, height, resized_hw, offset):
    letterbox = Letterbox(width, height, 416)
    assert letterbox.resized_wh == resized_hw[::-1]
    assert letterbox.offset_xy == offset


def test_a_zoomed_image_keeps_its_shape_and_its_middle():
    smaller = Letterbox(640, 480, 416, zoom=0.5)
    assert smaller.resized_wh == (208, 156) and smaller.offset_xy == (104, 130)
    whole = torch.tensor([0.0, 0.0, 640.0, 480.0])
    assert smaller.boxes_to_input(whole).tolist() == [104.0, 130.0, 312.0, 286.0]
    square = smaller.apply(Image.new("RGB", (640, 480), "white"))
    assert (square[130:286, 104:312] == 255).all() and (square == 255).all(2).sum() == 208 * 156


@pytest.mark.parametrize(
    ("in_square", "in_image"),
    [
        pytest.param((104, 104, 208, 208), (160, 80, 320, 240), id="centre"),
        pytest.param((65, 84.5, 195, 182), (100, 50, 300, 200), id="left"),
        pytest.param((0, 0, 416, 416), (0, -80, 640, 560), id="padding-is-not-clipped"),
    ],
)
def test_boxes_of_a_640x480_image(in_square, in_image):
    letterbox = Letterbox(640, 480, 416)
    square, image = torch.tensor([in_square]).float(), torch.tensor([in_image]).float()
    torch.testing.assert_close(letterbox.boxes_to_image(square), image)
    torch.testing.assert_close(letterbox.boxes_to_input(image), square)


@pytest.mark.parametrize(
    ("size", "side", "box", "expected"),
    [
        pytest.param((640, 480), 416, (100, 50, 300, 200), (0.3125, 0.3203125, 0.3125, 0.234375), id="B2 SimREC"),
        pytest.param((500, 375), 640, (100, 50, 300, 200), (0.4, 0.375, 0.4, 0.3), id="B5 TransVG, not moved"),
    ],
)
def test_boxes_over_the_side_of_the_square(size, side, box, expected):
    corners = Letterbox(*size, side).boxes_to_input(torch.tensor(box).float())
    assert (xyxy_to_cxcywh(corners) / side).tolist() == pytest.approx(expected)


def test_b5_size_and_offset_of_transvgs_square():
    box = Letterbox(500, 375, 640)
    assert (box.resized_wh, box.offset_xy) == ((640, 480), (0, 80))


def test_axes_have_their_own_scale():
    boxes = Letterbox(640, 427, 416).boxes_to_image(torch.tensor([[0.0, 69.0, 416.0, 346.0]]))
    torch.testing.assert_close(boxes, torch.tensor([[0.0, 0.0, 640.0, 427.0]]))


@settings(deadline=None, derandomize=True)
@given(width=SIDES, height=SIDES, shares=SHARES, side=st.sampled_from([64, 224, 416, 640]))
def test_boxes_survive_the_round_trip(width, height, shares, side):
    letterbox = Letterbox(width, height, side)
    boxes = torch.tensor([shares]) * torch.tensor([width, height] * 2)
    returned = letterbox.boxes_to_image(letterbox.boxes_to_input(boxes))
    assert (returned - boxes).abs().max() <= 0.05


@settings(deadline=None, derandomize=True)
@given(width=SIDES, height=SIDES, side=st.sampled_from([64, 224, 416, 640]))
def test_whole_image_lies_centred_in_the_square(width, height, side):
    letterbox = Letterbox(width, height, side)
    (new_width, new_height), (left, top) = letterbox.resized_wh, letterbox.offset_xy
    assert max(new_width, new_height) == side
    assert min(new_width, new_height) >= 1
    assert 0 <= side - new_width - 2 * left <= 1
    assert 0 <= side - new_height - 2 * top <= 1
    boxes = letterbox.boxes_to_input(torch.tensor([[0.0, 0.0, width, height]]))
    expected = torch.tensor([[left, top, left + new_width, top + new_height]]).float()
    torch.testing.assert_close(boxes, expected, atol=1e-3, rtol=0)


def test_empty_list_of_boxes():
    assert Letterbox(640, 480, 416).boxes_to_input(torch.zeros(0, 4)).shape == (0, 4)


def test_image_is_padded_with_127():
    square = Letterbox(640, 480, 416).apply(Image.new("RGB", (640, 480), (255, 0, 9)))
    assert square.shape == (416, 416, 3)
    assert square.dtype == np.uint8
    assert (square[52:364] == (255, 0, 9)).all()
    assert (square[:52] == 127).all()
    assert (square[364:] == 127).all()


def test_padding_after_standardising():
    levels = standardise(torch.full((1, 3, 1, 1), 127, dtype=torch.uint8))
    assert levels.flatten().tolist() == pytest.approx([0.05694, 0.18768, 0.40906], abs=1e-5)


def test_a_stretched_image_fills_the_square_and_comes_back():
    frame = Letterbox(width=40, height=10, side=20, stretch=True)
    assert (frame.resized_wh, frame.offset_xy) == ((20, 20), (0, 0))
    boxes = torch.tensor([[0.0, 0.0, 40.0, 5.0]])
    assert frame.boxes_to_input(boxes).tolist() == [[0.0, 0.0, 20.0, 10.0]]
    torch.testing.assert_close(frame.boxes_to_image(frame.boxes_to_input(boxes)), boxes)
    mask = np.zeros((10, 40), bool)
    mask[:5, :20] = True
    square = frame.mask_to_input(mask)
    assert square[:10, :10].all() and not square[10:].any() and not square[:, 10:].any()
    assert frame.mask_to_image(square).shape == (10, 40)
