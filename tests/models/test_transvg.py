"""TransVG: known loss values, parameter counts, and what padding and rescaling may do."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from deixis.types import StudentBatch
from models.blocks.csp_darknet import CSPConfig
from models.blocks.resnet import ResNetConfig
from models.student_blocks.gaze import attention_term, centre_of_gaze
from models.student_blocks.padding import pad_cells, pad_pixels
from models.students.transvg import (
    TransVG,
    TransVGConfig,
    box_terms,
)
from models.text.bert import BERTConfig
from tests.factories import VOCABULARY, alone_in_batch, student_batch

EYES = {
    "cnn": {"cnn": ResNetConfig(block="basic", layers=(1, 1, 1, 1), widths=(8, 8, 8, 8))},
    "csp": {"cnn": None, "backbone": CSPConfig(stem=4, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1))},
}
with_either_eye = pytest.mark.parametrize("eye", ["cnn", "csp"])


def transvg(eye: str = "csp", **changes) -> TransVG:
    torch.manual_seed(0)
    sizes = {"width": 16, "heads": 2, "feedforward": 16, "visual_layers": 1, "joint_layers": 2} | EYES[eye] | changes
    text = BERTConfig(vocabulary=None, length=8, width=16, layers=1, heads=2, feedforward=16)
    return TransVG(TransVGConfig(input_size=128, text=text, **sizes), VOCABULARY)


def padded_batch(batch: int = 3) -> StudentBatch:
    """Images with 32 rows of padding above and below, which is one row of cells each."""
    made = student_batch(batch, side=128)
    content = torch.tensor([[0.0, 32.0, 128.0, 96.0]]).repeat(batch, 1)
    tokens = made.tokens.clone()
    tokens[:, 3:] = 0
    return replace(made, tokens=tokens, content_xyxy=content)


@pytest.mark.parametrize(
    ("predicted", "target", "l1", "giou", "total"),
    [
        ((0.5, 0.5, 0.2, 0.2), (0.5, 0.5, 0.2, 0.2), 0.0, 1.0, 0.0),
        ((0.5, 0.5, 0.2, 0.2), (0.6, 0.5, 0.2, 0.2), 0.1, 1 / 3, 0.766667),
        ((0.5, 0.5, 0.2, 0.2), (0.9, 0.5, 0.2, 0.2), 0.4, -1 / 3, 1.733333),
        ((0.5, 0.5, 0.4, 0.4), (0.5, 0.5, 0.2, 0.2), 0.4, 0.25, 1.15),
    ],
    ids=["T1 equal", "T2 half shared", "T3 apart", "T4 inside"],
)
def test_loss_values(predicted, target, l1, giou, total):
    terms = box_terms(torch.tensor([predicted]), torch.tensor([target]))
    assert float(terms["l1"]) == pytest.approx(l1, abs=1e-5)
    assert float(terms["giou"]) == pytest.approx(1 - giou, abs=1e-5)
    assert float(terms["l1"] + terms["giou"]) == pytest.approx(total, abs=1e-5)


def test_loss_is_a_mean_over_the_batch():
    predicted = torch.tensor([[0.5, 0.5, 0.2, 0.2]] * 2)
    target = torch.tensor([[0.6, 0.5, 0.2, 0.2], [0.9, 0.5, 0.2, 0.2]])
    plain = box_terms(predicted, target)
    assert float(plain["l1"]) == pytest.approx(0.25, abs=1e-5)
    assert float(plain["giou"]) == pytest.approx(1.0, abs=1e-5)


def test_t5_parameter_counts_and_sequence_length_at_paper_scale():
    with torch.device("meta"):
        model = TransVG(TransVGConfig(), VOCABULARY)
    parameters = list(model.parameters())
    assert sum(p.numel() for p in parameters) == 149_745_860
    assert sum(p.numel() for p in parameters if p.requires_grad) == 149_523_460
    assert tuple(model.position.shape) == (421, 256)


def test_t5_sequence_length_with_forty_words():
    with torch.device("meta"):
        model = TransVG(TransVGConfig(text=BERTConfig(length=40, layers=1)), VOCABULARY)
    assert len(model.position) == 441


def test_published_weights_of_the_terms():
    assert {name: weight for name, weight in transvg().term_weights.items() if weight} == {"l1": 1.0, "giou": 1.0}


@with_either_eye
def test_pretrained_parts_learn_slower_and_nothing_is_left_out(eye):
    model = transvg(eye)
    (fast, full), (slow, factor) = model.parameter_groups()
    assert (full, factor) == (1.0, 0.1)
    trained = [id(p) for p in model.parameters() if p.requires_grad]
    grouped = [id(p) for p in [*fast, *slow]]
    assert sorted(grouped) == sorted(trained)
    new = [*model.joint_encoder.parameters(), *model.box.parameters(), model.answer, model.position]
    new += [*model.text_project.parameters(), *model.visual_project.parameters()]
    old = [*model.bert.parameters(), *model.visual_encoder.parameters(), *(model.cnn or model.backbone).parameters()]
    assert {id(p) for p in new} <= {id(p) for p in fast}
    assert {id(p) for p in old if p.requires_grad} <= {id(p) for p in slow}


@pytest.mark.parametrize(
    ("content", "padded"),
    [
        ((0, 0, 64, 64), []),
        ((0, 16, 64, 48), [0, 1, 2, 3, 12, 13, 14, 15]),
        ((32, 0, 64, 64), [0, 1, 4, 5, 8, 9, 12, 13]),
        ((16, 16, 32, 32), [cell for cell in range(16) if cell != 5]),
    ],
    ids=["no padding", "above and below", "on the left", "one cell of image"],
)
def test_pad_cells(content, padded):
    is_pad = pad_cells(torch.tensor([content], dtype=torch.float32), side=4, canvas=64)
    assert is_pad[0].nonzero().flatten().tolist() == padded


@pytest.mark.parametrize(("width", "height", "differ"), [(640, 480, 40), (640, 427, 20), (640, 640, 0)])
def test_released_padding_is_that_of_a_mask_resized_to_its_nearest_pixels(width, height, differ):
    """Resizing the mask of pixels, as the release does, moves the border of the image by up to half a cell."""
    left, top = (640 - width) // 2, (640 - height) // 2
    content = torch.tensor([[left, top, left + width, top + height]], dtype=torch.float32)
    mask = torch.ones(1, 640, 640)
    mask[:, top : top + height, left : left + width] = 0
    assert torch.equal(pad_pixels(content, side=640), mask.bool())
    resized = F.interpolate(mask[None], size=(20, 20))[0].bool().flatten(1)
    first = pad_cells(content, side=20, canvas=640, deciding="first")
    assert torch.equal(first, resized)
    assert int((first != pad_cells(content, side=20, canvas=640)).sum()) == differ


def test_released_padding_is_zero_when_the_network_reads_it():
    seen = {}
    for compat in ("released", "fixed"):
        model, batch = transvg("cnn", compat=compat).eval(), padded_batch(1)
        model.cnn.conv1.register_forward_pre_hook(lambda _, args, compat=compat: seen.update({compat: args[0]}))
        model.predict(batch)
    assert not seen["released"][:, :, :32].any() and not seen["released"][:, :, 96:].any()
    assert torch.equal(seen["released"][:, :, 32:96], seen["fixed"][:, :, 32:96])
    assert seen["fixed"][:, :, :32].any()


@with_either_eye
def test_answer_does_not_depend_on_padded_cells(eye):
    model, batch = transvg(eye).eval(), padded_batch()
    before = model.predict(batch).boxes_xyxy

    def disturb(_, __, maps):
        maps = maps.clone()
        maps[:, :, [0, 3]] += 100 * torch.randn_like(maps[:, :, [0, 3]])
        return maps

    model.input_project.register_forward_hook(disturb)
    torch.testing.assert_close(model.predict(batch).boxes_xyxy, before, atol=1e-3, rtol=1e-4)
    everywhere = replace(batch, content_xyxy=torch.tensor([[0.0, 0.0, 128.0, 128.0]]).repeat(3, 1))
    assert not torch.allclose(model.predict(everywhere).boxes_xyxy, before, atol=1e-2)


@torch.no_grad()
def test_answer_does_not_depend_on_what_pad_tokens_hold():
    model, batch = transvg().eval(), padded_batch()
    before = model.predict(batch).boxes_xyxy
    model.bert.embeddings.word_embeddings.weight[0] = torch.randn(16)
    torch.testing.assert_close(model.predict(batch).boxes_xyxy, before, atol=1e-3, rtol=1e-4)
    model.bert.embeddings.word_embeddings.weight[3:] = torch.randn(len(VOCABULARY) - 3, 16)
    assert not torch.allclose(model.predict(batch).boxes_xyxy, before, atol=1e-3)


@with_either_eye
def test_batched_equals_single(eye):
    model, batch = transvg(eye).eval(), padded_batch(4)
    whole = model.predict(batch).boxes_xyxy
    for row in range(4):
        one = slice(row, row + 1)
        alone = model.predict(alone_in_batch(batch, row))
        torch.testing.assert_close(alone.boxes_xyxy, whole[one], atol=1e-3, rtol=1e-4)


@with_either_eye
def test_answers_stay_on_the_canvas_and_the_loss_has_gradients(eye):
    model, batch = transvg(eye), padded_batch()
    terms = model.train().loss(batch)
    sum(terms.values()).backward()
    assert set(terms) == {"l1", "giou"} and all(torch.isfinite(term) for term in terms.values())
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.no_grad():
        model.box[-1].bias.copy_(torch.tensor([9.0, 9.0, 9.0, 9.0]))
    boxes = model.eval().predict(batch).boxes_xyxy
    assert boxes.min() >= 0 and boxes.max() <= 128


def test_centre_of_gaze_is_the_mean_place_round_the_strongest_cell():
    gaze = torch.zeros(3, 16)
    gaze[0, 5] = 1.0  # second row, second column of four
    gaze[1, [5, 6]] = torch.tensor([0.6, 0.2])  # side by side
    gaze[2, [0, 3]] = torch.tensor([0.6, 0.4])  # the second strongest is no neighbour
    expected = torch.tensor([[0.375, 0.375], [0.375 + 0.25 / 4, 0.375], [0.125, 0.125]])
    torch.testing.assert_close(centre_of_gaze(gaze), expected)


def test_attention_term_is_least_where_the_mean_place_is_the_centre_of_the_target():
    target = torch.tensor([[0.375 + 0.25 / 4, 0.375, 0.1, 0.1]])  # a quarter of the way from cell 5 to cell 6
    fits = torch.zeros(1, 16)
    fits[0, [5, 6]] = torch.tensor([0.75, 0.25])
    torch.testing.assert_close(centre_of_gaze(fits), target[:, :2])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(attention_term(fits, target)) == pytest.approx(entropy, abs=1e-4)
    for other in torch.rand(50, 16, generator=torch.Generator().manual_seed(2)).softmax(1):
        assert attention_term(other[None], target) > attention_term(fits, target)


@pytest.mark.parametrize("centre", [(0.0, 0.0), (1.0, 0.5), (0.97, 0.99)], ids=["corner", "edge", "beyond the last"])
def test_attention_term_at_the_rim_asks_for_the_outermost_cells(centre):
    gaze = torch.full((1, 16), 1e-3)
    inside = [min(3.0, max(0.0, 4 * place - 0.5)) for place in centre]
    for row in {math.floor(inside[1]), math.ceil(inside[1])}:
        for column in {math.floor(inside[0]), math.ceil(inside[0])}:
            gaze[0, 4 * row + column] = 0.25
    assert float(attention_term(gaze, torch.tensor([[*centre, 0.1, 0.1]]))) < -math.log(0.24)


@torch.no_grad()
def test_a_box_from_gaze_is_an_offset_from_where_the_answer_looks():
    model, batch = transvg(box_from_gaze=True).eval(), padded_batch()
    model.box[-1].weight.zero_()
    model.box[-1].bias.zero_()
    boxes, gaze = model._forward(model._look(batch.squares, batch.content_xyxy), batch.content_xyxy, batch)
    torch.testing.assert_close(boxes[:, :2], centre_of_gaze(gaze), atol=1e-4, rtol=0)
    torch.testing.assert_close(boxes[:, 2:], torch.full((3, 2), 0.5))


def test_help_from_scratch_trains_and_answers():
    model = transvg(norm_first=True, box_from_gaze=True, answer_reads_text=True, weight_attention=2.0).train()
    terms = model.loss(padded_batch())
    sum(model.term_weights[name] * term for name, term in terms.items()).backward()
    assert set(terms) == {"l1", "giou", "attention"} and all(torch.isfinite(term) for term in terms.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_frozen_backbone_gets_no_gradient_and_keeps_its_statistics():
    model = transvg(frozen_backbone=True).train()
    before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    sum(model.loss(padded_batch()).values()).backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.backbone.state_dict().items())
    slow = {id(p) for p in model.parameter_groups()[1][0]}
    assert not slow & {id(p) for p in model.backbone.parameters()}
