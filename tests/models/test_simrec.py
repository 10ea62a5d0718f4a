"""SimREC: its scheme, its sizes at paper scale, and answers that depend on nothing but their own phrase."""

import math
from dataclasses import replace

import pytest
import torch

from models.blocks.csp_darknet import CSPConfig
from models.students.simrec import SimREC, SimRECConfig
from tests.factories import TINY_TEXT, VOCABULARY, alone_in_batch, student_batch

TINY = CSPConfig(stem=4, widths=(8, 8, 16), blocks=(1, 1, 1))


def simrec(**changes) -> SimREC:
    torch.manual_seed(0)
    sizes = {"input_size": 64, "resize_sides": (48, 64, 80), "fused_width": 16, "head_width": 8} | changes
    return SimREC(SimRECConfig(backbone=TINY, text=TINY_TEXT, **sizes), VOCABULARY)


def test_batched_equals_single():
    model, batch = simrec().eval(), student_batch(4)
    whole = model.predict(batch)
    for row in range(4):
        one = slice(row, row + 1)
        alone = model.predict(alone_in_batch(batch, row))
        torch.testing.assert_close(alone.boxes_xyxy, whole.boxes_xyxy[one], atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(alone.scores, whole.scores[one], atol=1e-5, rtol=1e-4)


def test_random_resize_draws_the_configured_sides_and_no_other():
    model, batch, sides = simrec().train(), student_batch(2), []
    model.backbone.stem.register_forward_pre_hook(lambda _, inputs: sides.append(tuple(inputs[0].shape[2:])))
    for _ in range(40):
        model.loss(batch)
    assert set(sides) == {(48, 48), (64, 64), (80, 80)}
    sides.clear()
    model.eval().predict(batch)
    assert sides == [(64, 64)]


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


def test_a_choice_term_is_the_entropy_of_indifferent_cells():
    model = simrec(weight_choice=2.0).train()
    for part in (model.head.objectness.weight, model.head.objectness.bias):
        torch.nn.init.zeros_(part)
    terms = model.loss(student_batch(3))
    cells = {(side // TINY.stride) ** 2 for side in model.config.resize_sides}
    expected = [pytest.approx(math.log(count), abs=1e-3) for count in cells]
    assert float(terms["choice"].detach()) in expected
    assert model.term_weights == {"box": 5.0, "objectness": 1.0, "choice": 2.0}


def test_parameter_counts_of_the_parts_at_paper_scale():
    model = SimREC(SimRECConfig(frozen_backbone=True), VOCABULARY)
    parts = {
        "backbone": (model.backbone, 26.58),
        "language": (model.text_encoder, 4.80 + 300 * len(VOCABULARY) / 1e6),
        "fusion": (model.merge, 1.72 - 0.003),  # without the biases that BatchNorm takes away
        "multi-scale": (model.fusion, 4.46 - 0.92),  # the projections that nothing reads are left out
        "head": (model.head, 1.31),
    }
    counts = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, (part, _) in parts.items()}
    assert counts == pytest.approx({name: expected for name, (_, expected) in parts.items()}, abs=0.0051)
    trained = sum(p.numel() for p in model.backbone.parameters() if p.requires_grad) / 1e6
    assert trained == pytest.approx(12.60, abs=0.0051)
