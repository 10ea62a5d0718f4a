"""DViN: size, routing, and that running only the chosen experts changes nothing."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from deixis.anchors import keep_confident_cells, map_to_cells
from deixis.core.config import read_section
from deixis.core.errors import ConfigError
from deixis.training.losses import vision_guided_loss
from deixis.types import SCALES
from models.teachers.dvin import DViN, DViNConfig, mix_weights
from tests.factories import EXPERTS, VOCABULARY, MadeUpExpertMaps, dvin, teacher_batch

NAMES = tuple(EXPERTS)
SURE = torch.tensor([[2.0, 0.0, -1.0, -3.0]])
compats = pytest.mark.parametrize("compat", ["released", "paper", "fixed"])


def test_size_of_the_published_model():
    with torch.device("meta"):
        model = DViN(DViNConfig(compat="released"), VOCABULARY)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 33_541_381
    assert sum(p.numel() for p in model.router.parameters()) == 4_100
    assert sum(p.numel() for p in model.project.parameters()) == 787_456 + 263_168
    assert sum(p.numel() for p in model.text_decoder.parameters()) == 2_624_000


def test_released_weights():
    routing = mix_weights(SURE.softmax(-1), top=1, compat="released")
    assert routing.probabilities[0].tolist() == pytest.approx([0.839024, 0.113550, 0.041773, 0.005653], abs=1e-6)
    assert routing.detector_weight.item() == pytest.approx(0.880797, abs=1e-6)
    assert routing.expert_weights.item() == pytest.approx(0.119203, abs=1e-6)
    assert routing.chosen.item() == 0


def test_released_weights_of_equal_probabilities_are_halves():
    routing = mix_weights(torch.full((1, 4), 0.25), top=1, compat="released")
    assert (routing.detector_weight.item(), routing.expert_weights.item()) == pytest.approx((0.5, 0.5))


def test_paper_gives_the_detector_its_own_probability():
    routing = mix_weights(torch.tensor([[0.5, 0.1, 0.3, 0.06, 0.04]]), top=1, compat="paper")
    assert routing.detector_weight.item() == pytest.approx(0.5)
    assert routing.expert_weights.item() == pytest.approx(0.3)
    assert routing.chosen.item() == 1
    assert dvin(compat="paper").router.out_features == 5


def test_fixed_keeps_the_detector_at_one_and_rewards_sureness():
    routing = mix_weights(SURE.softmax(-1), top=1, compat="fixed")
    assert routing.detector_weight.item() == 1.0
    assert routing.expert_weights.item() == pytest.approx(0.839024, abs=1e-6)


@compats
@pytest.mark.parametrize("top", [1, 2, 3])
def test_top_experts_are_the_most_probable(compat, top):
    p = torch.randn(6, 4 + (compat == "paper"), generator=torch.Generator().manual_seed(0)).softmax(-1)
    routing = mix_weights(p, top=top, compat=compat)
    ranked = p[:, compat == "paper" :].argsort(dim=1, descending=True)
    assert torch.equal(routing.chosen, ranked[:, :top])
    assert (routing.expert_weights.diff(dim=1) <= 0).all()
    if compat == "released":
        torch.testing.assert_close(routing.detector_weight + routing.expert_weights.sum(1), torch.ones(6))
        assert (routing.detector_weight >= routing.expert_weights[:, 0]).all()


@compats
def test_shift_of_all_logits_changes_nothing(compat):
    z = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    first, second = (mix_weights((z + c).softmax(-1), top=2, compat=compat) for c in (0.0, 4.0))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("top", [1, 3])
@torch.no_grad()
def test_order_of_experts_does_not_matter(top):
    order = [2, 0, 3, 1]
    first = dvin(compat="released", top_experts=top).eval()
    second = dvin(compat="released", top_experts=top, experts={NAMES[i]: EXPERTS[NAMES[i]] for i in order}).eval()
    weights = first.state_dict()
    weights |= {name: weights[name][order] for name in ("router.weight", "router.bias")}
    second.load_state_dict(weights)
    batch = teacher_batch(8)
    matched, permuted = first.match(batch), second.match(batch)
    assert torch.equal(torch.tensor(order)[permuted.experts], matched.experts)
    torch.testing.assert_close(permuted.scores, matched.scores)


def run_all(model, batch):
    """Scores of every cell [batch, cells], all experts run and mixed; -inf where the cell is not kept."""
    detector = model.fusion(*batch.detections.maps)["coarse"]
    text = model.text_encoder(batch.tokens).flat
    routing = model.route(detector, text)
    fused = routing.detector_weight[:, None, None, None] * detector
    for index, name in enumerate(model.expert_names):
        cells = batch.experts.stored[name].permute(0, 2, 3, 1)
        if model.config.compat == "fixed":
            pooled = F.avg_pool2d(cells.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
            projected = model.project[name](F.layer_norm(pooled, pooled.shape[-1:])).permute(0, 3, 1, 2)
        else:  # projection and pooling commute
            shared = model.project[f"width_{EXPERTS[name]}"]
            projected = F.avg_pool2d(shared(cells).permute(0, 3, 1, 2), 2)
        weight = (routing.expert_weights * (routing.chosen == index)).sum(1)
        fused = fused + weight[:, None, None, None] * projected
    anchors = model.matcher.anchor_project(fused.flatten(2).transpose(1, 2))
    scores = torch.einsum("bcd,bd->bc", anchors, model.matcher.text_project(text))
    kept_cells = batch.detections.boxes[..., 4].mean(-1).topk(5, dim=1).indices
    return scores + torch.full_like(scores, -math.inf).scatter(1, kept_cells, 0.0), routing


@compats
@pytest.mark.parametrize("top", [1, 2, 3])
@torch.no_grad()
def test_route_first_equals_run_all_and_asks_for_the_chosen_only(compat, top):
    model = dvin(compat=compat, top_experts=top).eval()
    batch = replace(teacher_batch(8), experts=MadeUpExpertMaps(8, side=8))
    matched = model.match(batch)
    scores, routing = run_all(model, batch)
    torch.testing.assert_close(matched.scores, scores[scores > -math.inf].view(8, -1))
    assert torch.equal(matched.experts, routing.chosen)
    counts = routing.chosen.flatten().bincount(minlength=4)
    assert batch.experts.asked == {name: n for name, n in zip(NAMES, counts.tolist(), strict=True) if n}


@pytest.mark.parametrize(
    ("routing", "heeds_image", "heeds_text"), [("image", True, False), ("text", False, True), ("both", True, True)]
)
def test_router_reads_what_it_is_told_to_and_sends_no_gradient_back(routing, heeds_image, heeds_text):
    model = dvin(routing=routing)
    image, text = torch.randn(3, 16, 4, 4, requires_grad=True), torch.randn(3, 16, requires_grad=True)
    routed = model.route(image, text)
    assert torch.equal(model.route(image + 1, text).probabilities, routed.probabilities) is not heeds_image
    assert torch.equal(model.route(image, text + 1).probabilities, routed.probabilities) is not heeds_text
    routed.expert_weights.sum().backward()
    assert image.grad is None
    assert text.grad is None
    assert model.router.weight.grad.abs().sum() > 0
    assert torch.isfinite(sum(model.loss(teacher_batch()).values()))


@pytest.mark.parametrize("compat", ["released", "paper"])
@torch.no_grad()
def test_vision_guided_compares_what_each_source_says(compat):
    model, batch = dvin(compat=compat).eval(), teacher_batch()
    detector = model.fusion(*batch.detections.maps)["coarse"]
    routing = model.route(detector, model.text_encoder(batch.tokens).flat)
    expert = torch.stack(
        [
            model.project[f"width_{EXPERTS[NAMES[i]]}"](batch.experts.stored[NAMES[i]][row].permute(1, 2, 0))
            for row, i in enumerate(routing.chosen[:, 0])
        ]
    ).flatten(1, 2)
    plain = detector.flatten(2).transpose(1, 2)
    if compat == "paper":
        mixed = routing.detector_weight[:, None, None] * plain + routing.expert_weights[:, :, None] * expert
        kept_cells = batch.detections.boxes[..., 4].mean(-1).topk(5, dim=1).indices[..., None].expand(-1, -1, 16)
        expert, plain = mixed.gather(1, kept_cells), plain.gather(1, kept_cells)
    codes = model.expert_code(expert.mean(1)), model.detector_code(plain.mean(1))
    torch.testing.assert_close(model.loss(batch)["vision_guided"], vision_guided_loss(*codes, temperature=0.5))


@pytest.mark.parametrize(("compat", "weight", "detector"), [("fixed", 1 / 4, 1.0), ("paper", 1 / 5, 1 / 5)])
def test_constant_routing_mixes_all_experts_equally_whatever_it_sees(compat, weight, detector):
    model, batch = dvin(routing="constant", top_experts=4, compat=compat), teacher_batch()
    routing = model.route(torch.randn(3, 16, 4, 4), torch.randn(3, 16))
    assert torch.equal(routing.expert_weights, torch.full((3, 4), weight))
    assert torch.equal(routing.detector_weight, torch.full((3,), detector))
    assert routing.chosen.sort(dim=1).values.tolist() == [[0, 1, 2, 3]] * 3
    assert not [name for name in model.state_dict() if name.startswith("router")]
    sum(model.loss(batch).values()).backward()
    assert all(part.weight.grad.abs().sum() > 0 for part in model.project.values())


@pytest.mark.parametrize(("compat", "top"), [("fixed", 2), ("released", 3)])
def test_constant_routing_among_some_experts_is_refused(tmp_path, compat, top):
    params = tmp_path / "params.yaml"
    params.write_text(f"dvin: {{compat: {compat}, routing: constant, top_experts: {top}}}\n")
    with pytest.raises(ConfigError, match=rf"all 4 experts, but top_experts is {top}; allowed with it: 4, and compat"):
        read_section(params, "dvin", DViNConfig)


@torch.no_grad()
def test_without_the_detector_an_expert_alone_says_where():
    alone = dvin(has_detector=False, experts={"contrastive_vit": 8}).eval()
    mixed = dvin(experts={"contrastive_vit": 8}).eval()
    batch = teacher_batch()
    values = map_to_cells(batch.experts.stored["contrastive_vit"])
    cells = alone.project["contrastive_vit"](F.layer_norm(values, values.shape[-1:]))  # its weight in the mixture is 1
    text = alone.matcher.text_project(alone.text_encoder(batch.tokens).flat)
    scores = torch.einsum("bcd,bd->bc", alone.matcher.anchor_project(cells), text)
    kept_cells = keep_confident_cells(batch.detections.boxes, 0.3)
    torch.testing.assert_close(alone.match(batch).scores, scores.gather(1, kept_cells))
    blind = replace(batch, detections=replace(batch.detections, maps=tuple(m + 1 for m in batch.detections.maps)))
    assert torch.equal(alone.match(blind).scores, alone.match(batch).scores)
    assert not torch.equal(mixed.match(blind).scores, mixed.match(batch).scores)


@pytest.mark.parametrize("compat", ["released", "fixed"])
@torch.no_grad()
def test_coarse_cells_are_weighed_the_same_beside_finer_ones(compat):
    coarse, every = (dvin(compat=compat, scales=scales, keep_fraction=1.0).eval() for scales in (("coarse",), SCALES))
    coarse.load_state_dict({name: every.state_dict()[name] for name in coarse.state_dict()})
    batch = teacher_batch(scales=SCALES)
    only = replace(batch, detections=replace(batch.detections, boxes=batch.detections.boxes[:, :16]))
    matched, alone = every.match(batch), coarse.match(only)
    assert matched.scores.shape == (4, 16 + 64 + 256) and torch.equal(matched.experts, alone.experts)
    torch.testing.assert_close(matched.scores[:, :16], alone.scores)


@pytest.mark.parametrize("compat", ["released", "paper", "fixed"])
def test_finer_cells_teach(compat):
    model = dvin(compat=compat, scales=("middle", "fine")).train()
    sum(model.loss(teacher_batch(scales=("middle", "fine"))).values()).backward()
    assert model.fusion.project["fine"][0].weight.grad.abs().sum() > 0


def test_weights_of_the_terms():
    assert dvin().term_weights == {"diversity": 0.01, "text_guided": 1.0, "vision_guided": 1.0}
    assert -math.log(4) <= dvin().loss(teacher_batch())["diversity"] <= 0


@pytest.mark.parametrize(("compat", "top", "most"), [("released", 4, 3), ("fixed", 5, 4), ("paper", 5, 4)])
def test_too_many_experts_are_refused(tmp_path, compat, top, most):
    params = tmp_path / "params.yaml"
    params.write_text(f"dvin: {{compat: {compat}, top_experts: {top}}}\n")
    with pytest.raises(ConfigError, match=rf"top_experts is {top} of 4 experts; allowed .*{compat}.*: 1 to {most}\."):
        read_section(params, "dvin", DViNConfig)


@compats
def test_phrases_with_the_wrong_images_cost_more_than_chance(compat):
    model, batch = dvin(compat=compat).train(), teacher_batch()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        loss = sum(model.term_weights.get(name, 1.0) * term for name, term in model.loss(batch).items())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        assert model.loss(batch)["contrast"] < 0.1
        assert model.loss(replace(batch, tokens=batch.tokens.roll(1, 0)))["contrast"] > math.log(7)
