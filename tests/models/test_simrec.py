"""SimREC against the fact sheet: known values of decoding, assignment, loss and attention, and its properties."""

import math
from dataclasses import replace

import pytest
import torch

from models.csp_darknet import CSPConfig
from models.students.simota import assign, candidate_cells
from models.students.simrec import GlobalAttention, SimREC, SimRECConfig, decode, detection_terms
from tests.factories import TINY_TEXT, VOCABULARY, alone_in_batch, student_batch

STRIDE, SIDE = 32, 13
LN4 = math.log(4)
OBJECT = torch.tensor([[208.0, 208.0, 128.0, 128.0]])  # S4 to S7: pixels of a 416 square
TINY = CSPConfig(stem=4, widths=(8, 8, 16), blocks=(1, 1, 1))


def simrec(**changes) -> SimREC:
    torch.manual_seed(0)
    sizes = {"input_size": 64, "resize_sides": (48, 64, 80), "fused_width": 16, "head_width": 8} | changes
    return SimREC(SimRECConfig(backbone=TINY, text=TINY_TEXT, **sizes), VOCABULARY)


def cells_of(outputs: tuple[float, ...], *, batch: int = 1, side: int = SIDE) -> torch.Tensor:
    return torch.tensor(outputs).expand(batch, side * side, 5).clone()


def total(raw: torch.Tensor, weight: torch.Tensor | None = None) -> float:
    target = (OBJECT / 416).expand(len(raw), 4)
    terms = detection_terms(raw, target, stride=STRIDE, weight=weight)
    return float(5 * terms["box"] + 1 * terms["objectness"])


@pytest.mark.parametrize(
    ("shift", "expected"), [(10.0, 5 / 9), (200.0, 1.0)], ids=["S1 shifted by a fifth", "S2 disjoint"]
)
def test_box_term_is_one_minus_squared_iou(shift, expected):
    size = math.log(50 / STRIDE)
    raw = torch.tensor([[[100 / STRIDE, 100 / STRIDE, size, size, 0.0]]])  # one cell: a 32-pixel square
    target = torch.tensor([[100 + shift, 100, 50, 50]]) / STRIDE
    assert float(detection_terms(raw, target, stride=STRIDE)["box"]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("row", "column", "corners"),
    [(6, 6, (144, 144, 272, 272)), (0, 0, (-48, -48, 80, 80)), (2, 5, (112, 16, 240, 144))],
    ids=["S3 middle", "S8 corner, not clipped", "rows and columns kept apart"],
)
def test_decode(row, column, corners):
    found = decode(cells_of((0.5, 0.5, LN4, LN4, 0.0)), stride=STRIDE)[0, row * SIDE + column]
    left, top, right, bottom = corners
    expected = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top, 0.5]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_s4_candidates_and_count():
    in_box, in_centre = candidate_cells(OBJECT, cells=SIDE**2, stride=STRIDE)
    boxes = decode(cells_of((0.0,) * 5), stride=STRIDE)[..., :4]
    assert [int((in_box | in_centre).sum()), int((in_box & in_centre).sum())] == [25, 9]
    assert int(assign(boxes, OBJECT, stride=STRIDE).sum()) == 1


def test_s6_positives():
    boxes = decode(cells_of((0.5, 0.5, LN4, LN4, 0.0)), stride=STRIDE)[..., :4]
    positive = assign(boxes, OBJECT, stride=STRIDE)[0].view(SIDE, SIDE).nonzero().tolist()
    assert sorted(map(tuple, positive)) == [(5, 6), (6, 5), (6, 6), (6, 7), (7, 6)]


@pytest.mark.parametrize(
    ("outputs", "batch", "weight", "expected"),
    [
        ((0.0,) * 5, 1, None, 122.122342),
        ((0.0,) * 5, 2, None, 122.122342),
        ((0.5, 0.5, LN4, LN4, 0.0), 1, None, 25.988375),
        ((0.0,) * 5, 1, 1.0, 122.122342),
        ((0.0,) * 5, 1, 0.0, 4.980469),
    ],
    ids=["S5", "S5 two copies", "S7", "S9 full weight", "S9 no weight"],
)
def test_total_loss(outputs, batch, weight, expected):
    trust = None if weight is None else torch.full((batch,), weight)
    assert total(cells_of(outputs, batch=batch), trust) == pytest.approx(expected, abs=1e-4)


def attention(orientation: str = "correct") -> GlobalAttention:
    torch.manual_seed(0)
    return GlobalAttention(8, 6, heads=2, orientation=orientation).eval()


def test_g1_without_kernels_half_the_mean_value_comes_everywhere():
    module = attention()
    for kernel in (module.collect_key, module.diffuse_key):
        torch.nn.init.zeros_(kernel.weight)
        torch.nn.init.zeros_(kernel.bias)
    x, text = torch.randn(2, 8, 3, 5), torch.randn(2, 6)
    expected = 0.5 * module.value(x).mean((2, 3), keepdim=True).expand(2, 8, 3, 5)
    torch.testing.assert_close(module.attend(x, text), expected)


@pytest.mark.parametrize(("orientation", "place"), [("correct", (0, 1)), ("transposed", (1, 0))])
@torch.no_grad()
def test_g2_orientation(orientation, place):
    module = attention(orientation)
    for part in (module.query, module.collect_key, module.diffuse_key, module.value, module.output[0]):
        torch.nn.init.zeros_(part.weight)
        if part.bias is not None:
            torch.nn.init.zeros_(part.bias)
    module.query.bias.fill_(1)
    module.diffuse_key.bias.fill_(-30)
    module.diffuse_key.weight[:, 0] = 600  # closed everywhere but where channel 0 is set
    module.value.bias.fill_(1)
    module.output[0].weight[:, :, 0, 0] = torch.eye(8)
    x = torch.zeros(1, 8, 3, 3)
    x[0, 0, 0, 1] = 0.1
    response = (module(x, torch.zeros(1, 6)) - x)[0, 1]
    expected = torch.zeros(3, 3)
    expected[place] = 1
    torch.testing.assert_close(response, expected, atol=1e-3, rtol=0)


HARD_BOXES = {
    "left border": (0.1, 0.5, 0.2, 0.3),
    "bottom right corner": (0.95, 0.95, 0.1, 0.1),
    "whole square": (0.5, 0.5, 1.0, 1.0),
    "centre on the corner": (0.0, 0.0, 0.1, 0.1),
    "far corner": (1.0, 1.0, 1 / 416, 1 / 416),
    "one pixel": (0.5 + 0.5 / 416, 0.3, 1 / 416, 1 / 416),
    "one pixel on a cell border": (96 / 416, 96 / 416, 1 / 416, 1 / 416),
    "outside the square": (1.4, -0.3, 0.1, 0.1),
}


@pytest.mark.parametrize("box", HARD_BOXES.values(), ids=HARD_BOXES)
@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0], ids=["zero outputs", "usual outputs", "wild outputs"])
def test_hard_boxes_have_a_positive_and_a_finite_loss(box, spread):
    raw = (spread * torch.randn(3, SIDE**2, 5, generator=torch.Generator().manual_seed(1))).requires_grad_()
    target = torch.tensor([box]).repeat(3, 1)
    positive = assign(decode(raw, stride=STRIDE)[..., :4].detach(), 416 * target, stride=STRIDE)
    terms = detection_terms(raw, target, stride=STRIDE)
    sum(terms.values()).backward()
    assert positive.any(1).all()
    assert all(torch.isfinite(term) for term in terms.values()) and torch.isfinite(raw.grad).all()


def test_random_targets_have_one_to_ten_positives_among_their_candidates():
    generator = torch.Generator().manual_seed(3)
    boxes = decode(torch.randn(200, SIDE**2, 5, generator=generator), stride=STRIDE)[..., :4]
    targets = torch.rand(200, 4, generator=generator) * 416
    positive = assign(boxes, targets, stride=STRIDE)
    in_box, in_centre = candidate_cells(targets, cells=SIDE**2, stride=STRIDE)
    assert positive.sum(1).min() >= 1 and positive.sum(1).max() <= 10
    assert not (positive & ~(in_box | in_centre)).any()


def test_loss_does_not_depend_on_the_order_of_the_batch():
    raw = torch.randn(5, SIDE**2, 5, generator=torch.Generator().manual_seed(2))
    boxes = student_batch(5).boxes_norm
    terms = detection_terms(raw, boxes, stride=STRIDE)
    flipped = detection_terms(raw.flip(0), boxes.flip(0), stride=STRIDE)
    assert {k: float(v) for k, v in flipped.items()} == pytest.approx({k: float(v) for k, v in terms.items()})


def test_batched_equals_single():
    model, batch = simrec().eval(), student_batch(4)
    whole = model.predict(batch)
    for row in range(4):
        one = slice(row, row + 1)
        alone = model.predict(alone_in_batch(batch, row))
        torch.testing.assert_close(alone.boxes_xyxy, whole.boxes_xyxy[one], atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(alone.scores, whole.scores[one], atol=1e-5, rtol=1e-4)


def test_random_resize_draws_the_configured_sides_and_no_other():
    model, batch, seen = simrec().train(), student_batch(2), []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    for _ in range(40):
        model.loss(batch)
    assert set(seen) == {(48, 48), (64, 64), (80, 80)}
    seen.clear()
    model.eval().predict(batch)
    assert seen == [(64, 64)]


def test_pads_change_neither_the_pooled_text_nor_the_answer():
    model, batch = simrec().eval(), student_batch(3)
    short = batch.tokens[:, :3]
    padded = torch.nn.functional.pad(short, (0, 5))
    beside_a_long_one = torch.cat([padded, torch.full_like(padded[:1], 3)])
    features = model.text_encoder(beside_a_long_one)
    assert torch.equal(features.is_pad, beside_a_long_one == 0)
    torch.testing.assert_close(features.flat[:3], model.text_encoder(short).flat)
    answers = [model.predict(replace(batch, tokens=t)) for t in (short, padded)]
    torch.testing.assert_close(answers[0].boxes_xyxy, answers[1].boxes_xyxy, atol=1e-3, rtol=1e-4)


def test_published_settings():
    assert simrec().term_weights == {"box": 5.0, "objectness": 1.0}
    assert SimRECConfig().resize_sides == (224, 256, 288, 320, 352, 384, 416, 448, 480, 512, 544, 576, 608)


def test_parameter_counts_of_the_parts_at_paper_scale():
    model = SimREC(SimRECConfig(frozen_backbone=True), VOCABULARY)
    parts = {
        "backbone": (model.backbone, 26.58),
        "language": (model.text_encoder, 4.80 + 300 * len(VOCABULARY) / 1e6),
        "fusion": (model.merge, 1.72 - 0.003),  # without the biases that BatchNorm takes away
        "multi-scale": (model.fusion, 4.46 - 0.92),  # the projections that nothing reads are left out
        "head": (torch.nn.ModuleList([model.head, model.box, model.objectness]), 1.31),
    }
    counts = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, (part, _) in parts.items()}
    assert counts == pytest.approx({name: expected for name, (_, expected) in parts.items()}, abs=0.0051)
    trained = sum(p.numel() for p in model.backbone.parameters() if p.requires_grad) / 1e6
    assert trained == pytest.approx(12.60, abs=0.0051)
