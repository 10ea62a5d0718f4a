"""RealGIN: known values of its parts, its sizes, and answers that depend on nothing but their own phrase."""

import math

import pytest
import torch
from torch.nn import functional as F

from models.blocks.csp_darknet import CSPConfig
from models.student_blocks.feature_selection import FeatureSelection, iou_heat_map
from models.students.realgin import RealGIN, RealGINConfig
from tests.factories import TINY_TEXT, VOCABULARY, alone_in_batch, student_batch

TINY = CSPConfig(stem=4, widths=(8, 8, 16), blocks=(1, 1, 1))


def realgin(**changes) -> RealGIN:
    torch.manual_seed(0)
    sizes = {
        "input_size": 64, "resize_sides": (48, 64, 80), "fused_width": 16, "selection_width": 8, "product_width": 8,
        "head_width": 8,
    }  # fmt: skip
    return RealGIN(RealGINConfig(backbone=TINY, text=TINY_TEXT, **(sizes | changes)), VOCABULARY)


def test_g3_without_weights_the_scales_count_the_same():
    module = FeatureSelection((4, 4, 4), 6, hidden=4, width=5).eval()
    torch.nn.init.zeros_(module.weigh.weight)
    torch.nn.init.zeros_(module.weigh.bias)
    maps = [torch.randn(2, 4, side, side) for side in (12, 6, 3)]
    scaled = [scale(F.adaptive_avg_pool2d(x, 3)) for scale, x in zip(module.scales, maps, strict=True)]
    torch.testing.assert_close(module(maps, torch.randn(2, 6)), sum(scaled) / 3)


def test_the_phrase_can_choose_one_scale():
    module = FeatureSelection((4, 4, 4), 1, hidden=4, width=5).eval()
    with torch.no_grad():
        module.weigh.weight.copy_(torch.tensor([[0.0], [100.0], [0.0]]))
    maps = [torch.randn(1, 4, side, side) for side in (12, 6, 3)]
    expected = module.scales[1](F.avg_pool2d(maps[1], 2))
    torch.testing.assert_close(module(maps, torch.ones(1, 1)), expected)


@pytest.mark.parametrize("axis", [0, 1], ids=["down", "right"])
def test_g4_heat_falls_as_the_box_moves_away(axis):
    side = 13
    box = torch.tensor([[4.5, 4.5, 4.0, 4.0]]) / side  # four cells wide, round the middle of cell (4, 4)
    heat = iou_heat_map(box, side=side).view(side, side)
    line = heat[4:8, 4] if axis == 0 else heat[4, 4:8]
    assert line.tolist() == pytest.approx([1, 0.6, 1 / 3, 1 / 7], abs=1e-6)


def test_heat_of_a_box_at_the_border_is_cut_off_there():
    heat = iou_heat_map(torch.tensor([[0.1, 0.5, 0.2, 0.2]]), side=10).view(10, 10)
    assert float(heat[5, 0]) == pytest.approx(0.15 * 0.15 / (0.15 * 0.2 + 0.2 * 0.2 - 0.15 * 0.15), abs=1e-5)


def test_g5_attention_term_of_zero_logits():
    model = realgin().train()
    for part in (model.attention.query, model.attention.collect_key):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.zeros_(part.bias)
    assert float(model.loss(student_batch(3))["attention"].detach()) == pytest.approx(math.log(2), abs=1e-6)


def test_selection_at_paper_scale_has_the_published_size():
    module = FeatureSelection((256, 512, 1024), 512, hidden=256, width=512)
    assert sum(p.numel() for p in module.parameters()) == 4_528_131


def test_batched_equals_single():
    model, batch = realgin().eval(), student_batch(4)
    whole = model.predict(batch)
    for row in range(4):
        alone = model.predict(alone_in_batch(batch, row))
        torch.testing.assert_close(alone.boxes_xyxy, whole.boxes_xyxy[row : row + 1], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    "settings", [{}, {"coordinates": True, "weight_choice": 1.0}], ids=["as published", "with help"]
)
def test_every_trained_part_gets_a_gradient(settings):
    model = realgin(frozen_backbone=True, **settings).train()
    terms = model.loss(student_batch(4))
    assert set(terms) == set(model.term_weights)
    sum(terms.values()).backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
