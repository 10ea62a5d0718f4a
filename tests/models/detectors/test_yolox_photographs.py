"""The real YOLOX-nano on real photographs: ours says what onnxruntime says, before any suppression.

The photographs come into their square by the product's own reader, as they would in use.
"""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from deixis.core.records import file_sha256
from deixis.imaging.decoding import open_image
from deixis.imaging.images import ImageReader
from deixis.types import SCALES
from deixis.weights.cards import find_card
from models.detectors.yolox import YOLOX
from tests.photographs import photographs

COUNT = 20


@pytest.fixture(scope="module")
def published():
    return photographs() / "yolox_nano.onnx"


@pytest.fixture(scope="module")
def squares():
    paths = sorted((photographs() / "images").iterdir())[:COUNT]
    sizes = [open_image(path).size for path in paths]
    table = pd.DataFrame({"image_id": range(COUNT), "path": [path.name for path in paths]})
    table = table.assign(width=[size[0] for size in sizes], height=[size[1] for size in sizes])
    reader = ImageReader(table, root=paths[0].parent, side=416, framing=YOLOX.framing)
    return reader.squares(range(COUNT))


@pytest.fixture(scope="module")
def answers(published, squares):
    """Both networks' [photographs, 3549, values]: ours, and onnxruntime's raw ones, cells from fine to coarse."""
    config, state = YOLOX.read_published(published)
    ours = YOLOX(config).eval()
    ours.load_state_dict(state, strict=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(published, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    blue_first = squares.flip(1).float().numpy()
    raw = np.concatenate([session.run(None, {name: blue_first[row : row + 1]})[0] for row in range(COUNT)])
    with torch.no_grad():
        found = ours.detect(squares, scales=("fine", "middle", "coarse")).boxes[:, :, 0]
    return found, torch.from_numpy(raw)


def test_the_card_names_this_file(published):
    card = find_card("yolox-nano")
    assert [file.sha256 for file in card.files] == [file_sha256(published)]
    assert len(card.categories) == YOLOX.read_published(published)[0].num_classes == 80


def test_before_decoding_everything_is_equal_to_a_thousandth(answers):
    found, raw = answers
    assert found.shape == raw.shape == (COUNT, 3549, 85)
    cells, stride = grid()
    torch.testing.assert_close(found[..., :2] / stride - cells, raw[..., :2], atol=1e-3, rtol=0)
    torch.testing.assert_close((found[..., 2:4] / stride).log(), raw[..., 2:4], atol=1e-3, rtol=0)
    torch.testing.assert_close(found[..., 5:], raw[..., 5:], atol=1e-3, rtol=0)
    confidence = raw[..., 4] * raw[..., 5:].amax(-1)
    torch.testing.assert_close(found[..., 4], confidence, atol=1e-3, rtol=0)
    assert (confidence > 0.3).sum(1).ge(1).sum() > COUNT / 2  # there is something to see


def test_boxes_are_equal_to_a_thousandth_of_their_size(answers):
    found, raw = answers
    cells, stride = grid()
    centre, size = (raw[..., :2] + cells) * stride, raw[..., 2:4].exp() * stride
    assert ((found[..., :2] - centre).abs() / size.clamp(min=1)).max() < 1e-3
    assert ((found[..., 2:4] - size).abs() / size).max() < 1e-3


def grid():
    """Column and row of each cell, fine to coarse, and the pixels from one to the next."""
    cells, strides = [], []
    for stride in (8, 16, 32):
        side = 416 // stride
        cells += [(column, row) for row in range(side) for column in range(side)]
        strides += [stride] * side**2
    return torch.tensor(cells).float(), torch.tensor(strides).float()[:, None]


@torch.no_grad()
def test_scales_are_numbered_coarse_to_fine(published, squares, answers):
    config, state = YOLOX.read_published(published)
    ours = YOLOX(config).eval()
    ours.load_state_dict(state, strict=True)
    found = ours.detect(squares[:1], scales=SCALES)
    fine, middle, coarse = answers[0][:1].split([2704, 676, 169], 1)
    torch.testing.assert_close(found.boxes[:, :, 0], torch.cat([coarse, middle, fine], 1), atol=1e-2, rtol=1e-3)
    assert [x.shape[-1] for x in found.maps] == [13, 26, 52]
