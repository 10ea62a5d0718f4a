"""RealGIN with anchors: known values of its terms, its sizes, and answers that depend on their phrase alone."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from deixis.boxes import cxcywh_to_xyxy, paired_iou
from deixis.core.errors import ConfigError
from deixis.language.text import PAD
from deixis.training.adamw import AdamW
from models.blocks.csp_darknet import CSPConfig
from models.blocks.resnet import ResNetConfig
from models.student_blocks.anchors import (
    decode_offsets,
    encode_offsets,
    focal_term,
    make_anchors,
    match_anchors,
    offset_term,
)
from models.student_blocks.feature_pyramid import FeaturePyramid
from models.student_blocks.feature_selection import FeatureSelection
from models.students.realgin_anchors import RealGINAnchors, RealGINAnchorsConfig
from models.text.glove import use_vectors
from models.text.last_states import LastStatesConfig, LastStatesEncoder
from tests.factories import VOCABULARY, alone_in_batch, student_batch

TINY = CSPConfig(stem=4, widths=(8, 8, 16), blocks=(1, 1, 1))
TINY_RESNET = ResNetConfig(block="basic", layers=(1, 1, 1, 1), widths=(8, 8, 8, 8))
TEXT = LastStatesConfig(length=6, word_width=8, width=16)
LEVELS = (40, 20, 10, 5, 3, 1)  # of the published input, 320 pixels
PUBLISHED = RealGINAnchorsConfig()


def student(**changes) -> RealGINAnchors:
    torch.manual_seed(0)
    sizes = {
        "input_size": 96, "resize_sides": (96,), "cnn": None, "backbone": TINY, "text": TEXT, "fused_width": 16,
        "selection_width": 8, "pyramid_width": 16, "head_width": 16, "head_depth": 1,
    }  # fmt: skip
    return RealGINAnchors(RealGINAnchorsConfig(**(sizes | changes)), VOCABULARY)


def published_anchors() -> torch.Tensor:
    cpu = torch.device("cpu")
    return make_anchors(LEVELS, ratios=PUBLISHED.anchor_ratios, scales=PUBLISHED.anchor_scales, device=cpu)


def g7_target() -> torch.Tensor:
    """A square of 64 pixels round the middle of cell (9, 9) of the 20 x 20 level."""
    return torch.tensor([[9.5 * 16, 9.5 * 16, 64.0, 64.0]]) / 320


def test_g6_anchors_of_the_published_input():
    anchors = published_anchors() * 320
    assert len(anchors) == 19_215
    smallest = anchors[0:9:3, [3, 2]]  # scale 4 of the first cell: height, width
    assert smallest.flatten().tolist() == pytest.approx([22.63, 45.25, 32, 32, 45.25, 22.63], abs=5e-3)
    assert anchors[0, :2].tolist() == pytest.approx([4, 4])
    assert anchors[9, :2].tolist() == pytest.approx([12, 4])  # rows first, so x moves
    assert anchors[-9:, :2].flatten().tolist() == pytest.approx([160] * 18)


def test_g7_positives_of_a_square():
    anchors, target = published_anchors(), g7_target()
    positive = match_anchors(target, anchors, min_iou=0.6)
    iou = paired_iou(cxcywh_to_xyxy(anchors), cxcywh_to_xyxy(target).expand(len(anchors), 4))
    assert int(positive.sum()) == 6
    assert float(iou.max()) == pytest.approx(1, abs=1e-5)
    assert bool(positive[0, iou.argmax()])


def test_g8_losses_of_a_model_that_says_nothing():
    anchors, target = published_anchors(), g7_target()
    positive = match_anchors(target, anchors, min_iou=0.6)
    assert float(focal_term(torch.full((1, len(anchors)), -4.0), positive)) == pytest.approx(2.910879, abs=2e-6)
    term = offset_term(torch.zeros(1, len(anchors), 4), target, anchors, positive)
    assert float(term) == pytest.approx(0.048620, abs=1e-6)


def test_g9_single_focal_terms():
    logits = torch.full((1, 2), -4.0, dtype=torch.float64)
    positive = torch.tensor([[True, False]])
    both = float(focal_term(logits, positive))
    alone = float(focal_term(logits[:, :1], positive[:, :1]))
    assert alone == pytest.approx(2.906180, abs=1e-6)
    assert both - alone == pytest.approx(1.4679e-6, abs=1e-10)


def test_the_focal_factor_has_no_gradient():
    logit = torch.tensor([[0.5]], requires_grad=True)
    focal_term(logit, torch.tensor([[True]])).backward()
    missing = 1 - torch.sigmoid(torch.tensor(0.5))
    assert float(logit.grad) == pytest.approx(float(-0.75 * missing**3), abs=1e-6)


def test_parameters_at_the_defaults_are_the_published_ones():
    with torch.device("meta"):
        model = RealGINAnchors(PUBLISHED, ["[PAD]"])
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == 60_268_150
    assert trained / 1e6 == pytest.approx(60.27, abs=0.005)
    widths = [sum(p.numel() for p in part.parameters()) for part in (model.selections[0], model.attentions[0])]
    assert widths == [8_658_435, 920_576]


def test_levels_follow_from_the_size():
    pyramid = FeaturePyramid(4, 3).eval()
    for sides, expected in (
        ((40, 20, 10), [40, 20, 10, 5, 3, 1]),
        ((14, 7, 4), [14, 7, 4, 2, 1]),
        ((8, 4, 2), [8, 4, 2, 1]),
    ):
        levels = pyramid([torch.randn(1, 4, side, side) for side in sides])
        assert [tuple(level.shape) for level in levels] == [(1, 3, side, side) for side in expected]


@pytest.mark.parametrize("target", [0, 1, 2], ids=["fine", "middle", "coarse"])
def test_selection_can_aim_at_any_scale(target):
    module = FeatureSelection((4, 5, 6), 1, hidden=4, width=3, target=target).eval()
    maps = [torch.randn(1, channels, side, side) for channels, side in ((4, 12), (5, 6), (6, 3))]
    for chosen, scale in enumerate(module.scales):
        with torch.no_grad():
            module.weigh.weight.copy_(100 * F.one_hot(torch.tensor(chosen), 3).float()[:, None])
        factor = 2 ** abs(target - chosen)
        x = maps[chosen]
        if chosen < target:
            x = F.avg_pool2d(x, factor)
        elif chosen > target:
            x = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=True)
        torch.testing.assert_close(module(maps, torch.ones(1, 1)), scale(x))


def test_a_known_anchor_decodes():
    anchors = torch.tensor([[0.5, 0.25, 0.2, 0.1], [0.5, 0.5, 1.0, 1.0]])
    offsets = torch.tensor([[[0.5, -1.0, math.log(2), math.log(0.5)], [0.0, 0.0, 0.0, 0.0]]])
    expected = torch.tensor([[[0.6, 0.15, 0.4, 0.05], [0.5, 0.5, 1.0, 1.0]]])
    torch.testing.assert_close(decode_offsets(offsets, anchors), expected)
    torch.testing.assert_close(encode_offsets(expected[0, :1], anchors)[0, 0], offsets[0, 0])


def test_the_answer_is_the_box_of_the_most_confident_anchor():
    model = student().eval()
    batch = student_batch(2, side=96)
    with torch.no_grad():
        raw, anchors, _ = model._forward(model._look(batch.squares), batch)
    assert raw.shape[1] == len(anchors) == 9 * sum(side**2 for side in (24, 12, 6, 3, 2, 1))
    grounding = model.predict(batch)
    best = raw[0, :, 4].argmax()
    expected = cxcywh_to_xyxy(decode_offsets(raw[0, :, :4], anchors)[best]) * 96
    torch.testing.assert_close(grounding.boxes_xyxy[0], expected)
    assert float(grounding.scores[0]) == pytest.approx(float(raw[0, best, 4].sigmoid()))


def test_a_fresh_head_answers_with_small_objectness():
    head = student().head[-1].bias.view(9, 5)
    assert head.tolist() == [[0, 0, 0, 0, -4]] * 9


def test_pads_and_other_phrases_do_not_change_an_answer():
    model, batch = student().eval(), student_batch(4, side=96)
    tokens = batch.tokens.masked_fill(torch.arange(6)[None] >= torch.tensor([6, 4, 1, 0])[:, None], PAD)
    batch = replace(batch, tokens=tokens)
    whole = model.predict(batch)
    for row in range(4):
        alone = model.predict(alone_in_batch(batch, row))
        torch.testing.assert_close(alone.boxes_xyxy, whole.boxes_xyxy[row : row + 1], atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(alone.scores, whole.scores[row : row + 1])


def test_last_states_are_those_of_a_bidirectional_lstm():
    torch.manual_seed(0)
    encoder = LastStatesEncoder(TEXT, VOCABULARY)
    both = torch.nn.LSTM(8, 8, batch_first=True, bidirectional=True)
    for name, tensor in encoder.lstm.state_dict().items():
        both.state_dict()[name].copy_(tensor)
        both.state_dict()[f"{name}_reverse"].copy_(encoder.reverse_lstm.state_dict()[name])
    words = torch.tensor([[3, 5, 4]])
    _, (last, _) = both(encoder.embedding(words))
    padded = torch.cat([F.pad(words, (0, 3)), torch.full((1, 6), 3)])
    torch.testing.assert_close(encoder(padded)[:1], last.transpose(0, 1).flatten(1))


def test_published_vectors_fill_the_word_table(tmp_path):
    model = student()
    (tmp_path / "v.txt").write_text("red " + " ".join("1" * 8) + "\n")
    assert use_vectors(model, tmp_path / "v.txt") == 1
    assert model.text_encoder.embedding.weight[VOCABULARY.index("red")].tolist() == [1.0] * 8


@pytest.mark.parametrize(
    "box", [[0.02, 0.98, 0.04, 0.04], [0.5, 0.5, 1 / 96, 1 / 96], [0.5, 0.5, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]],
    ids=["at the border", "a pixel", "the whole square", "empty"],
)  # fmt: skip
def test_the_loss_of_any_box_is_finite(box):
    model, batch = student().train(), student_batch(2, side=96)
    terms = model.loss(replace(batch, boxes_norm=torch.tensor([box, [0.5, 0.5, 0.3, 0.3]])))
    sum(terms.values()).backward()
    assert all(term.isfinite() for term in terms.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_attention_term_of_zero_logits():
    model = student().train()
    for attention in model.attentions:
        for part in (attention.query, attention.collect_key):
            torch.nn.init.zeros_(part.weight)
            torch.nn.init.zeros_(part.bias)
    assert float(model.loss(student_batch(3, side=96))["attention"].detach()) == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("side", [80, 96, 112])
def test_anchors_follow_a_random_resize(side):
    terms = student(resize_sides=(side,)).train().loss(student_batch(2, side=96))
    assert all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize(
    "changes", [{"frozen_backbone": True}, {"cnn": TINY_RESNET, "backbone": None}], ids=["csp", "resnet"]
)
def test_every_trained_part_gets_a_gradient(changes):
    model = student(**changes).train()
    terms = model.loss(student_batch(4, side=96))
    assert set(terms) == set(model.term_weights)
    sum(terms.values()).backward()
    silent = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    levels_end_before = [name for name in silent if name.startswith("pyramid.beyond.1")] if "cnn" in changes else []
    assert silent == levels_end_before  # a ResNet's coarse map of 96 pixels has 3 cells, then 2, then 1


def test_a_few_pairs_are_learnt():
    model, batch = student().train(), student_batch(4, side=96)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = AdamW([(trained, 1.0)], betas=(0.9, 0.99), eps=1e-8, weight_decay=0.0)
    losses = []
    for _ in range(60):
        total = torch.stack(list(model.loss(batch).values())).sum()
        model.zero_grad()
        total.backward()
        optimiser.step(2e-3)
        losses.append(float(total.detach()))
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("changes", [
    {"cnn": TINY_RESNET}, {"backbone": None}, {"cnn": TINY_RESNET, "backbone": None, "frozen_backbone": True},
], ids=["both", "neither", "nothing to freeze"])  # fmt: skip
def test_one_image_network_must_be_named(changes):
    with pytest.raises(
        ConfigError, match=r"name one of cnn and backbone.* frozen_backbone needs a backbone.*dvc repro"
    ):
        student(**changes)
