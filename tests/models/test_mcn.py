"""MCN: known values of its terms, its sizes, and answers that depend on nothing but their own phrase."""

import math
from dataclasses import replace

import pytest
import torch

from models.blocks.csp_darknet import CSPConfig
from models.students.mcn import (
    MCN,
    MCNConfig,
    anchor_terms,
    consistency,
    decode_anchors,
    suppress_outside,
)
from tests.factories import TINY_TEXT, VOCABULARY, alone_in_batch, student_batch

TINY = CSPConfig(stem=4, widths=(8, 8, 16), blocks=(1, 1, 1))
ANCHORS = torch.tensor(MCNConfig().anchors)
OBJECT = torch.tensor([[0.5, 0.5, 0.3, 0.6]])


def mcn(**changes) -> MCN:
    torch.manual_seed(0)
    sizes = {
        "input_size": 64, "resize_sides": (48, 64, 80), "fused_width": 16, "aspp_width": 8, "aspp_rates": (1, 2),
        "anchors": ((12.0, 12.0), (24.0, 24.0)),
    }  # fmt: skip
    return MCN(MCNConfig(backbone=TINY, text=TINY_TEXT, **(sizes | changes)), VOCABULARY)


def masked_batch(count: int = 4):
    batch = student_batch(count)
    masks = torch.zeros(count, 64, 64)
    masks[:, 24:40, 20:44] = 1
    return replace(batch, masks=masks)


def test_c1_mask_term_of_zero_logits():
    model = mcn(input_size=416, resize_sides=(416,)).train()
    torch.nn.init.zeros_(model.mask.output.weight)
    torch.nn.init.zeros_(model.mask.output.bias)
    batch = student_batch(2, side=416)
    masks = torch.zeros(2, 416, 416)
    masks[:, 100:200, 50:300] = 1
    assert float(model.loss(replace(batch, masks=masks))["mask"].detach()) == pytest.approx(187.426998, rel=1e-5)


def test_c2_and_c3_box_terms_of_zero_outputs():
    raw = torch.zeros(1, 169, 3, 5)
    terms = anchor_terms(raw, OBJECT, anchors=ANCHORS, stride=32)
    assert float(terms["centre"]) == pytest.approx(2.523056, abs=1e-5)
    assert 0.5 * float(terms["size"]) == pytest.approx(0.008499, abs=1e-5)
    assert float(terms["objectness"]) == pytest.approx((507 - 6) * math.log(2), abs=1e-3)
    assert sum(mcn().term_weights.get(k, 1.0) * float(v) for k, v in terms.items()) == pytest.approx(349.798, abs=1e-2)


def test_c2_the_most_similar_anchor_answers_in_the_cell_of_the_centre():
    raw = torch.zeros(1, 169, 3, 5).requires_grad_()
    terms = anchor_terms(raw, OBJECT, anchors=ANCHORS, stride=32)
    (terms["centre"] + terms["size"]).backward()
    assert raw.grad.abs().sum(-1).nonzero().tolist() == [[0, 6 * 13 + 6, 0]]
    t_wh = [math.log(0.3 * 416 / 137), math.log(0.6 * 416 / 256)]
    assert t_wh == pytest.approx([-0.093268, -0.025318], abs=1e-5)
    assert raw.grad[0, 84, 0, 2:4].tolist() == pytest.approx([-2 * 1.82 * t for t in t_wh], abs=1e-4)


def test_decoding_of_zero_outputs():
    decoded = decode_anchors(torch.zeros(1, 169, 3, 5), anchors=ANCHORS, stride=32)[0, 6 * 13 + 5]
    assert decoded.tolist() == [[176, 208, *wh, 0.5] for wh in ANCHORS.tolist()]


@pytest.mark.parametrize(
    ("other", "expected"), [((1.0, 0.0), -9.5e-7), ((0.0, 1.0), 0.693145), ((-1.0, 0.0), 13.815511)]
)
def test_c4_consistency_of_one_position(other, expected):
    one, energy = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), torch.zeros(1, 1, 1, 1)
    term = consistency(one, energy, 3 * torch.tensor(other).view(1, 2, 1, 1), energy)
    assert float(term) == pytest.approx(expected, abs=1e-6)


def test_consistency_is_the_expectation_over_all_pairs_of_places():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 5, 3, 3, generator=generator), torch.randn(2, 5, 2, 2, generator=generator)
    energies = torch.randn(2, 1, 3, 3, generator=generator), torch.randn(2, 1, 2, 2, generator=generator)
    pairs = torch.cosine_similarity(one.flatten(2)[:, :, :, None], other.flatten(2)[:, :, None], dim=1)
    p, q = (energy.flatten(1).softmax(1) for energy in energies)
    expected = -(torch.einsum("bp,bq,bpq->b", p, q, (pairs + 1) / 2) + 1e-6).log()
    torch.testing.assert_close(consistency(one, energies[0], other, energies[1]), expected)


def test_c5_pixels_outside_the_box_are_suppressed():
    soft = suppress_outside(torch.full((1, 8, 8), 0.5), torch.tensor([[2.0, 0.0, 6.0, 4.0]]), torch.tensor([0.9]))
    expected = torch.full((8, 8), 0.45)
    expected[:4, 2:6] = 0.55
    torch.testing.assert_close(soft[0], expected)


def test_a_label_without_a_mask_trains_the_box_alone():
    model, batch = mcn(resize_sides=(64,)).eval(), masked_batch(2)
    both = model.loss(batch)["mask"].detach()
    batch.masks[1] = 0
    alone = model.loss(batch)["mask"].detach()
    assert 0 < alone < both
    batch.masks[0] = 0
    torch.stack(list(model.loss(batch).values())).sum().backward()
    parts = (model.mask, model.mask_energy, model.mask_attention, model.box_energy)
    assert not any(p.grad.any() for part in parts for p in part.parameters() if p.grad is not None)
    assert model.boxes.weight.grad.any()


HELP = {"head_width": 8, "coordinates": True, "weight_choice": 1.0, "placings": 3, "mirror_share": 0.5}


@pytest.mark.parametrize("settings", [{}, HELP], ids=["as published", "with help"])
def test_every_trained_part_gets_a_gradient(settings):
    model = mcn(frozen_backbone=True, **settings).train()
    terms = model.loss(masked_batch())
    assert ("choice" in terms) == ("choice" in model.term_weights) == bool(settings)
    sum(terms.values()).backward()
    assert all(torch.isfinite(term) for term in terms.values())
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_batched_equals_single():
    model, batch = mcn().eval(), student_batch(4)
    whole = model.predict(batch)
    for row in range(4):
        one = slice(row, row + 1)
        alone = model.predict(alone_in_batch(batch, row))
        torch.testing.assert_close(alone.boxes_xyxy, whole.boxes_xyxy[one], atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(alone.masks, whole.masks[one], atol=1e-4, rtol=1e-4)


def test_size_of_all_but_the_backbone_at_paper_scale():
    model = MCN(MCNConfig(), VOCABULARY)
    size = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("backbone"))
    published = 29.05 - 5.2  # trainable, less the last two modules of its Darknet-53, which is given to a tenth
    unread = 0.525  # the fusion's middle projection, which nothing reads and we leave out
    assert size / 1e6 == pytest.approx(published - unread, abs=0.06)
