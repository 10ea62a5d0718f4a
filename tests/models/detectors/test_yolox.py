"""YOLOX beside the released network, written out apart from ours: sizes, maps, boxes, confidence."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from models.blocks.yolox import SpatialPyramid
from models.detectors.published_yolox import SIZES
from models.detectors.yolox import YOLOX, YOLOXConfig
from tests.models.detectors.yolox_release import random_release

SIDE = 64
MILLIONS = {"nano": 0.91, "tiny": 5.06, "s": 9.0, "m": 25.3, "l": 54.2, "x": 99.1}


@pytest.fixture(scope="module", params=["nano", "tiny"])
def pair(request, tmp_path_factory):
    """The released network with seeded weights, and ours, which read its checkpoint."""
    theirs = random_release(request.param, classes=3)
    path = tmp_path_factory.mktemp("yolox") / "yolox.pth"
    torch.save({"model": theirs.state_dict()}, path)
    config, state = YOLOX.read_published(path, input_size=SIDE)
    ours = YOLOX(config).eval()
    ours.load_state_dict(state, strict=True)
    return theirs, ours


@pytest.fixture(scope="module")
def squares():
    return torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", SIZES)
def test_parameters_are_as_many_as_published(size):
    width, depth, depthwise = SIZES[size]
    with torch.device("meta"):
        model = YOLOX(YOLOXConfig(width, depth, depthwise))
    folded = sum(p.numel() for p in model.parameters())
    # a convolution and its norm have two vectors, of which ours keep one; the predictions have no norm
    normed = sum(len(p) for name, p in model.named_parameters() if name.endswith("bias") and "preds" not in name)
    assert (folded + normed) / 1e6 == pytest.approx(MILLIONS[size], abs=0.05 if MILLIONS[size] > 6 else 0.005)


@torch.no_grad()
def test_maps_and_boxes_are_those_of_the_released_network(pair, squares):
    theirs, ours = pair
    blue_first = squares.flip(1).float()
    found = ours.detect(squares, scales=("coarse", "middle", "fine"))
    for mine, its in zip(found.maps, reversed(theirs.maps(blue_first)), strict=True):
        assert its.std() > 0.05
        torch.testing.assert_close(mine, its, atol=1e-4, rtol=1e-4)
    expected = []
    for raw, stride in zip(reversed(theirs(blue_first)), (32, 16, 8), strict=True):
        for row in range(SIDE // stride):
            for column in range(SIDE // stride):
                values = raw[:, :, row, column]
                corner = torch.tensor([column, row]).float()
                centre, size = (values[:, :2] + corner) * stride, values[:, 2:4].exp() * stride
                classes = torch.sigmoid(values[:, 5:])
                confidence = torch.sigmoid(values[:, 4:5]) * classes.max(1, keepdim=True).values
                expected.append(torch.cat([centre, size, confidence, classes], 1))
    torch.testing.assert_close(found.boxes[:, :, 0], torch.stack(expected, 1), atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_three_pools_in_a_row_are_those_of_sides_5_9_and_13():
    block, x = SpatialPyramid(4), torch.randn(1, 4, 16, 15, generator=torch.Generator().manual_seed(0))
    inside = block.conv1(x)
    pooled = [F.max_pool2d(inside, side, 1, side // 2) for side in (5, 9, 13)]
    torch.testing.assert_close(block(x), block.conv2(torch.cat([inside, *pooled], 1)))


@torch.no_grad()
def test_an_image_answers_alone_as_among_others(pair, squares):
    _, ours = pair
    together, alone = ours.detect(squares), ours.detect(squares[1:])
    torch.testing.assert_close(together.boxes[1:], alone.boxes, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_only_the_scales_that_are_asked_for_have_boxes_and_in_that_order(pair, squares):
    _, ours = pair
    cells = {"coarse": slice(0, 4), "middle": slice(4, 20), "fine": slice(20, 84)}
    every = ours.detect(squares, scales=("coarse", "middle", "fine"))
    assert every.boxes.shape == (2, 84, 1, 8)
    assert [tuple(x.shape[1:]) for x in every.maps] == [
        (channels, side, side) for channels, side in zip(ours.config.channels, (2, 4, 8), strict=True)
    ]
    for scales in (("coarse",), ("fine", "coarse"), ("middle",)):
        expected = torch.cat([every.boxes[:, cells[scale]] for scale in scales], 1)
        torch.testing.assert_close(ours.detect(squares, scales=scales).boxes, expected)
    assert torch.equal(ours.detect(squares).boxes, ours.detect(squares, scales=("coarse",)).boxes)


@torch.no_grad()
def test_boxes_stay_finite_whatever_the_weights():
    model = YOLOX(YOLOXConfig(width=0.125, num_classes=2, input_size=32))
    for raw, most in ((1e4, 32 * 404), (-1e4, 32)):
        for prediction in model.head.reg_preds:
            prediction.bias.fill_(raw)
        boxes = model.detect(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).boxes
        assert boxes.isfinite().all() and 0 < boxes[..., 2:4].max() < most


def test_settings_say_what_teachers_read():
    assert YOLOXConfig().channels == (256, 128, 64) and YOLOXConfig().strides == (32, 16, 8)
    assert replace(YOLOXConfig(), width=1.25).channels == (1280, 640, 320)
    framing = YOLOX.framing
    assert (framing.place, framing.pad, framing.resize) == ("top_left", 114, "bilinear")
