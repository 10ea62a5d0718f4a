"""The detector: size, decoding of boxes, deformable head."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from answering.live_store import detector_arrays, encode_squares
from deixis.types import SCALES
from models.detectors.category_votes import with_voted_categories
from models.detectors.yolov3 import Head, YOLOv3, YOLOv3Config

COARSE = ((116.0, 90.0), (156.0, 198.0), (121.0, 240.0))
TINY = YOLOv3Config(input_size=64, num_classes=3, stem=4, widths=(4, 4, 8, 8, 16), blocks=(1, 1, 1, 1, 1))


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):
        return YOLOv3(YOLOv3Config()).eval()


def silent_head(*, anchors=COARSE, stride=32):
    """A head whose raw outputs and guides are all 0."""
    head = Head(8, anchors=anchors, stride=stride, num_classes=80)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head


def random_head(seed=0):
    torch.manual_seed(seed)
    return Head(8, anchors=COARSE, stride=32, num_classes=3)


def test_size_of_the_published_model(published):
    assert sum(p.numel() for p in published.parameters()) == 75_554_428
    assert sum(isinstance(module, nn.BatchNorm2d) for module in published.modules()) == 73


def test_shapes_of_the_published_model(published):
    maps = published.features(torch.empty(2, 3, 416, 416, device="meta"))
    assert [tuple(m.shape) for m in maps] == [(2, 1024, 13, 13), (2, 512, 26, 26), (2, 256, 52, 52)]
    boxes = [head(m).decoded for head, m in zip(published.heads, maps, strict=True)]
    assert [tuple(b.shape) for b in boxes] == [(2, 169, 4, 85), (2, 676, 4, 85), (2, 2704, 4, 85)]
    assert torch.cat([b.flatten(1, 2) for b in boxes], 1).shape == (2, 14196, 85)


def test_published_anchors_and_strides():
    config = YOLOv3Config()
    assert config.strides == (32, 16, 8)
    assert config.anchors[0] == COARSE
    assert config.anchors[1:] == (((30, 61), (62, 45), (42, 119)), ((10, 13), (16, 30), (33, 23)))


@torch.no_grad()
def test_decoding_of_raw_zeros():
    boxes = silent_head()(torch.zeros(1, 8, 13, 13)).decoded
    cell = boxes[0, 6 * 13 + 6]
    assert cell[:, :2].tolist() == [[208.0, 208.0]] * 4
    expected = torch.tensor([[116.0, 90.0], [156.0, 198.0], [121.0, 240.0], [128.0, 128.0]])
    torch.testing.assert_close(cell[:, 2:4], expected)
    assert (cell[:, 4:] == 0.5).all()


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 12), (2, 5), (12, 0)])
@torch.no_grad()
def test_cells_are_row_major(row, column):
    boxes = silent_head()(torch.zeros(1, 8, 13, 13)).decoded
    assert boxes[0, row * 13 + column, 0, :2].tolist() == [32 * column + 16, 32 * row + 16]


@pytest.mark.parametrize(("stride", "side"), [(32, 128.0), (16, 64.0), (8, 32.0)])
@torch.no_grad()
def test_anchor_free_box_comes_last_and_is_four_strides_wide(stride, side):
    boxes = silent_head(stride=stride)(torch.zeros(1, 8, 2, 2)).decoded
    assert boxes[0, 0, 3, 2:4].tolist() == [side, side]


@torch.no_grad()
def test_guide_and_size_outputs_multiply_the_anchor():
    head = silent_head()
    head.guide.bias.view(4, 2)[:, 0] = math.log(2)
    head.output.bias.view(4, 85)[:, 3] = math.log(3)
    cell = head(torch.zeros(1, 8, 13, 13)).decoded[0, 84]
    expected = torch.tensor([[232.0, 270.0], [312.0, 594.0], [242.0, 720.0], [256.0, 384.0]])
    torch.testing.assert_close(cell[:, 2:4], expected)


@torch.no_grad()
def test_centre_and_scores_pass_through_a_sigmoid():
    head = silent_head()
    outputs = head.output.bias.view(4, 85)
    outputs[1, 0], outputs[1, 1], outputs[1, 4], outputs[1, 5 + 7] = math.log(3), -math.log(3), 2.0, -2.0
    box = head(torch.zeros(1, 8, 13, 13)).decoded[0, 2 * 13 + 5, 1]
    assert box[:2].tolist() == pytest.approx([32 * 5.75, 32 * 2.25])
    assert box[[4, 12]].tolist() == pytest.approx([0.880797, 0.119203], abs=1e-6)


def test_deformable_head_without_offsets_is_an_ordinary_convolution():
    head, x = random_head(), torch.randn(2, 8, 6, 6)
    nn.init.zeros_(head.offset.weight)
    nn.init.zeros_(head.offset.bias)
    adapted = nn.functional.conv2d(x, head.adapt_weight, head.adapt_bias, padding=1)
    raw = head.output(adapted).view(2, 4, 8, 36).permute(0, 3, 1, 2)
    torch.testing.assert_close(head(x).raw, raw, atol=1e-4, rtol=1e-4)  # with gradients, so deformable all the same
    with torch.no_grad():
        assert torch.equal(head(x).raw, head(x, rigid=True).raw)  # a frozen one does not pay for that


@pytest.mark.parametrize(
    ("dy", "dx"), [pytest.param(0, 1, id="right"), pytest.param(1, 0, id="down"), pytest.param(-1, 2, id="both")]
)
@torch.no_grad()
def test_whole_offsets_read_the_shifted_map(dy, dx):
    head, x = random_head(), torch.randn(1, 8, 9, 9)
    nn.init.zeros_(head.offset.weight)
    head.offset.bias.view(4 * 9, 2)[:] = torch.tensor([dy, dx])
    moved = head(x).raw.view(9, 9, -1)
    expected = head(x.roll((-dy, -dx), (2, 3)), rigid=True).raw.view(9, 9, -1)
    inner = slice(3, 6)
    torch.testing.assert_close(moved[inner, inner], expected[inner, inner], atol=1e-4, rtol=1e-4)
    assert (head(x).raw - head(x, rigid=True).raw).abs().max() > 0.01


@torch.no_grad()
def test_offsets_follow_the_guided_shape():
    head, x = random_head(), torch.randn(1, 8, 6, 6)
    nn.init.normal_(head.offset.weight)
    before = head(x).raw
    head.guide.bias += 0.5
    assert (head(x).raw - before).abs().max() > 0.01


def test_offsets_send_no_gradient_to_the_guide():
    head = random_head()
    nn.init.normal_(head.offset.weight)
    head(torch.randn(1, 8, 6, 6)).raw.square().sum().backward()
    assert head.guide.weight.grad is None
    assert head.offset.weight.grad.abs().sum() > 0


def test_tiny_model_detects():
    torch.manual_seed(0)
    model = YOLOv3(TINY).eval()
    squares = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        detections, alone = model.detect(squares), model.detect(squares[1:2])
    assert [tuple(m.shape) for m in detections.maps] == [(3, 16, 2, 2), (3, 8, 4, 4), (3, 8, 8, 8)]
    assert detections.boxes.shape == (3, 4, 4, 8)
    assert (detections.boxes[..., 2:4] > 0).all()
    assert ((detections.boxes[..., 4:] >= 0) & (detections.boxes[..., 4:] <= 1)).all()
    torch.testing.assert_close(alone.boxes, detections.boxes[1:2], atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_boxes_of_the_scales_that_are_asked_for():
    torch.manual_seed(0)
    model = YOLOv3(TINY).eval()
    squares = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    maps = model.detect(squares).maps
    coarse, middle, fine = (head(x).decoded for head, x in zip(model.heads, maps, strict=True))
    assert torch.equal(model.detect(squares, scales=("middle",)).boxes, middle)
    assert torch.equal(model.detect(squares, scales=SCALES).boxes, torch.cat([coarse, middle, fine], 1))


@pytest.mark.parametrize(
    ("scales", "shapes"),
    [
        (("coarse",), {"boxes": (4, 4, 8)}),
        (("middle", "fine"), {"boxes_middle": (16, 4, 8), "boxes_fine": (64, 4, 8)}),
    ],
)
def test_a_store_keeps_the_boxes_of_each_scale_by_itself(scales, shapes):
    torch.manual_seed(0)
    model = YOLOv3(TINY).eval()
    squares = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    stored = encode_squares(detector_arrays(model, scales), squares, torch.device("cpu"))
    assert {name: x.shape[1:] for name, x in stored.items() if x.dtype == np.float32} == shapes
    assert set(stored) - set(shapes) == {"coarse", "middle", "fine"}
    with torch.no_grad():
        boxes = model.detect(squares, scales=scales).boxes
        expected = with_voted_categories(boxes, model.detect(squares, scales=SCALES).boxes)
    torch.testing.assert_close(torch.cat([torch.from_numpy(stored[name]) for name in shapes], 1), expected)
