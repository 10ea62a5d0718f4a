"""RefCLIP: size, its answer worked by hand, and whether it learns which phrase goes with which image."""

import math
from dataclasses import replace

import pytest
import torch

from deixis.core.config import read_section
from deixis.core.errors import ConfigError
from deixis.training.fit import Recipe
from deixis.types import SCALES, Detections
from models.teachers.refclip import RefCLIP, RefCLIPConfig
from models.text.gru_attention import TextConfig
from tests.factories import VOCABULARY, refclip, teacher_batch


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(RefCLIPConfig(compat="released"), 27_501_057, id="released"),
        pytest.param(RefCLIPConfig(compat="released", text=TextConfig(layers=1)), 21_196_289, id="referit"),
        pytest.param(RefCLIPConfig(compat="fixed"), 27_501_057 - 2_363_392, id="fixed"),
    ],
)
def test_size_of_the_published_model(config, expected):
    with torch.device("meta"):
        assert trainable(RefCLIP(config, VOCABULARY)) == expected


def test_parts_of_the_published_model():
    with torch.device("meta"):
        model = RefCLIP(RefCLIPConfig(compat="released"), VOCABULARY)
        narrow = RefCLIP(RefCLIPConfig(compat="released", fused_width=512), VOCABULARY)
    assert trainable(model.text_encoder) == 11_101_697
    assert trainable(model.fusion) == 15_611_904
    assert trainable(narrow.fusion) == 4_660_224
    assert trainable(model.matcher) == 524_800 + 262_656


def test_settings_of_the_paper():
    config = RefCLIPConfig(compat="paper")
    assert config.text.bidirectional
    assert config.text.layers == 1
    assert config.fused_width == config.joint_width == 512


def test_unread_projections_are_all_that_released_leaves_without_gradient():
    for compat, unread in (("released", {"fusion.project.middle", "fusion.project.fine"}), ("fixed", set())):
        model = refclip(compat=compat)
        model.loss(teacher_batch())["contrast"].backward()
        idle = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert {".".join(name.split(".")[:3]) for name in idle} == unread


@torch.no_grad()
def test_match_worked_by_hand():
    model, batch = refclip().eval(), teacher_batch()
    matched = model.match(batch)
    cells = model.fusion(*batch.detections.maps)["coarse"].flatten(2).transpose(1, 2)
    anchors = model.matcher.anchor_project(cells)
    text = model.matcher.text_project(model.text_encoder(batch.tokens).flat)
    for row in range(len(text)):
        boxes = batch.detections.boxes[row]
        kept_cells = boxes[..., 4].mean(-1).argsort(descending=True)[:5]  # 0.3 of 16 cells, rounded up
        for place, cell in enumerate(sorted(kept_cells.tolist())):
            box = boxes[cell, boxes[cell, :, 4].argmax()]
            corners = torch.cat([box[:2] - box[2:4] / 2, box[:2] + box[2:4] / 2])
            torch.testing.assert_close(matched.boxes_xyxy[row, place], corners)
            torch.testing.assert_close(matched.scores[row, place], anchors[row, cell] @ text[row])
            assert matched.objectness[row, place] == box[4]
            assert torch.equal(matched.classes[row, place], box[5:])
    assert matched.experts.shape == (len(text), 0)


@pytest.mark.parametrize("scales", [("middle",), ("coarse", "fine"), ("coarse", "middle", "fine")])
@torch.no_grad()
def test_match_over_other_scales_worked_by_hand(scales):
    model, batch = refclip(scales=scales).eval(), teacher_batch(scales=scales)
    matched = model.match(batch)
    fused = model.fusion(*batch.detections.maps)
    cells = torch.cat([fused[scale].flatten(2) for scale in scales], 2).transpose(1, 2)
    scores = model.matcher.anchor_project(cells) @ model.matcher.text_project(model.text_encoder(batch.tokens).flat).T
    assert matched.scores.shape[1] == math.ceil(0.3 * cells.shape[1])
    for row in range(len(batch.tokens)):
        boxes = batch.detections.boxes[row]
        kept_cells = boxes[..., 4].mean(-1).argsort(descending=True)[: matched.scores.shape[1]].sort().values
        torch.testing.assert_close(matched.scores[row], scores[row, kept_cells, row])
        assert torch.equal(matched.objectness[row], boxes[kept_cells, :, 4].amax(-1))


@torch.no_grad()
def test_coarse_cells_are_weighed_the_same_beside_finer_ones():
    coarse, every = (refclip(scales=scales, keep_fraction=1.0).eval() for scales in (("coarse",), SCALES))
    coarse.load_state_dict({name: every.state_dict()[name] for name in coarse.state_dict()})
    batch = teacher_batch(scales=SCALES)
    scores = every.match(batch).scores
    assert scores.shape == (4, 16 + 64 + 256)
    only = replace(batch, detections=replace(batch.detections, boxes=batch.detections.boxes[:, :16]))
    torch.testing.assert_close(scores[:, :16], coarse.match(only).scores)


@pytest.mark.parametrize("scales", ["[]", "[coarse, coarse]", "[coarsest]"])
def test_no_scale_a_scale_twice_and_an_unknown_one_are_refused(tmp_path, scales):
    path = tmp_path / "params.yaml"
    path.write_text(f"teachers: {{refclip: {{model: {{scales: {scales}}}}}}}\n")
    with pytest.raises(ConfigError, match=r"teachers\.refclip\.model.*scales"):
        read_section(path, "teachers.refclip.model", RefCLIPConfig)


@torch.no_grad()
def test_match_of_one_phrase_does_not_depend_on_the_batch():
    model, batch = refclip().eval(), teacher_batch()
    whole = model.match(batch)
    for row in range(4):
        maps = tuple(m[row : row + 1] for m in batch.detections.maps)
        detections = Detections(maps, batch.detections.boxes[row : row + 1])
        tokens, only = batch.tokens[row : row + 1], torch.zeros(1, dtype=torch.long)
        alone = model.match(replace(batch, tokens=tokens, image_of=only, detections=detections))
        torch.testing.assert_close(alone.scores[0], whole.scores[row])
        torch.testing.assert_close(alone.boxes_xyxy[0], whole.boxes_xyxy[row])


@torch.no_grad()
def test_loss_without_evidence_is_log_of_the_number_of_logits():
    model = refclip()
    torch.nn.init.zeros_(model.matcher.text_project.weight)
    torch.nn.init.zeros_(model.matcher.text_project.bias)
    assert model.loss(teacher_batch())["contrast"].item() == pytest.approx(math.log(7))


def test_phrases_with_the_wrong_images_cost_more_than_chance():
    model, batch = refclip().train(), teacher_batch()
    assert len(batch.tokens.unique(dim=0)) == 4
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        loss = model.loss(batch)["contrast"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        assert model.loss(batch)["contrast"] < 0.1
        for shift in (1, 2, 3):
            repaired = replace(batch, tokens=batch.tokens.roll(shift, 0))
            assert model.loss(repaired)["contrast"] > math.log(7)


def test_published_recipe():
    recipe = Recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.min_lr) == (25, 64, 1e-4, 1e-6)
    assert (recipe.betas, recipe.eps, recipe.weight_decay) == ((0.9, 0.98), 1e-9, 0.0)
    assert (recipe.warmup_epochs, recipe.clip_norm, recipe.ema_decay) == (3, 0.15, 0.9997)
