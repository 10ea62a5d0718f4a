"""TRIS and PCNet: what a phrase's map may depend on, and what their losses teach."""

from dataclasses import asdict, replace

import pytest
import torch
from pydantic import TypeAdapter

from deixis.batches.map_data import refuse_other_squares
from deixis.core.config import read_section
from deixis.core.errors import ConfigError, DataError
from deixis.types import MapBatch
from models.backbones.clip_resnet import CLIPResNetConfig
from models.blocks.csp_darknet import CSPConfig
from models.map_blocks.region_losses import pairs_of_objects
from models.map_blocks.towers import Towers, TowersConfig
from models.map_teachers.pcnet import PCNet, PCNetConfig
from models.map_teachers.tris import TRIS, TRISConfig
from models.text.clip_text import CLIPTextConfig
from models.text.gru_attention import TextConfig
from tests.factories import VOCABULARY

TEXT = TextConfig(length=6, word_width=8, width=8, heads=2, feedforward=8, layers=1, pool_hidden=4)
TOWERS = TowersConfig(backbone=CSPConfig(stem=8, widths=(8, 8, 16), blocks=(1, 1, 1)), levels=2, text=TEXT)
PLAIN = TRISConfig(input_size=64, towers=TOWERS, width=8, has_positive_term=False, same_image_negatives=0)
STAGED = PCNetConfig(input_size=64, towers=TOWERS, width=8)
CLIP_TOWERS = TowersConfig(  # the published kind, small
    backbone=CLIPResNetConfig(layers=(1, 1, 1, 1), width=4),
    text=CLIPTextConfig(length=6, width=8, inner_width=8, layers=1, heads=1, tokens=len(VOCABULARY)),
)


def map_batch(*, seed: int = 0) -> MapBatch:
    """Two images: in the first one objects 0 and 1, in the second object 2, twice."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, len(VOCABULARY), (4, 6), generator=generator)
    proposals = torch.zeros(2, 3, 16, 16, dtype=torch.bool)
    proposals[0, 0, :8, :8] = proposals[0, 1, 8:, 8:] = proposals[1, 0, :8, 8:] = True
    return MapBatch(
        squares=torch.randint(0, 256, (2, 3, 64, 64), generator=generator, dtype=torch.uint8),
        tokens=tokens,
        image_of=torch.tensor([0, 0, 1, 1]),
        group_of=torch.tensor([0, 1, 2, 2]),
        cues=torch.randint(3, len(VOCABULARY), (4, 2, 6), generator=generator),
        proposals=proposals,
    )


def build(config: TRISConfig | PCNetConfig) -> TRIS | PCNet:
    torch.manual_seed(0)
    return (TRIS if isinstance(config, TRISConfig) else PCNet)(config, VOCABULARY)


@pytest.mark.parametrize(
    "config",
    [
        PLAIN,
        replace(PLAIN, prompt="to_picture"),
        replace(PLAIN, memory=3),
        STAGED,
        replace(STAGED, memory=3),
        replace(STAGED, modulation="add"),
        replace(STAGED, stages=1),
        replace(STAGED, shares_weights=True),
        replace(STAGED, last_stage="cue", stages=2),
    ],
)
def test_a_map_depends_on_its_own_phrase_and_image_alone(config):
    model, batch = build(config).eval(), map_batch()
    maps = model.respond(batch).scores
    assert maps.shape == (4, 8, 8)
    alone = replace(
        batch, squares=batch.squares[1:], tokens=batch.tokens[3:], image_of=batch.image_of[:1],
        group_of=batch.group_of[3:], cues=batch.cues[3:], proposals=None,
    )  # fmt: skip
    torch.testing.assert_close(model.respond(alone).scores, maps[3:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("config", [PLAIN, STAGED])
def test_clips_towers_learn_and_take_stretched_images(config):
    config = replace(config, towers=CLIP_TOWERS)
    model, batch = build(config), map_batch()
    assert model.eval().respond(batch).scores.shape == (4, 2, 2)  # stride 32
    torch.stack(list(model.train().loss(batch).values())).sum().backward()
    towers = dict(model.towers.named_parameters())
    assert not [name for name, p in towers.items() if p.grad is None]
    assert model.reading.stretch and model.reading.keep_end
    assert not build(replace(config, compat="released")).reading.keep_end  # D-T1
    assert not build(replace(config, towers=TOWERS)).reading.stretch


def test_a_teacher_says_what_it_starts_from():
    assert build(PLAIN).starts == build(STAGED).starts == ("backbone", "contrastive_vit")
    published = replace(PLAIN, towers=CLIP_TOWERS, judge="clip_image_text")
    assert build(published).starts == ("clip_resnet", "clip_text", "clip_image_text")
    assert build(replace(STAGED, towers=CLIP_TOWERS)).starts == ("clip_resnet", "clip_text")


def test_the_config_chooses_the_towers_by_their_kind(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("towers: {backbone: {kind: clip_resnet}, text: {kind: clip_text, length: 12}}")
    config = read_section(params, "towers", TowersConfig)
    assert config.backbone == CLIPResNetConfig() and config.text == CLIPTextConfig(length=12)
    assert TypeAdapter(TowersConfig).validate_python(asdict(config)) == config  # as a card keeps it
    assert TypeAdapter(TowersConfig).validate_python(asdict(TOWERS)) == TOWERS
    params.write_text("towers: {backbone: {stme: 8}}")
    with pytest.raises(ConfigError, match=r'no setting "stme" \(8\). Known: stem, widths, blocks;'):
        read_section(params, "towers", TowersConfig)


def test_proposals_of_other_squares_are_refused(tmp_path):
    (tmp_path / "meta.json").write_text("{}")
    refuse_other_squares(tmp_path, stretch=False)
    with pytest.raises(DataError, match=r"letterboxed images.*reads stretched ones. Set proposals.stretch: true"):
        refuse_other_squares(tmp_path, stretch=True)


@pytest.mark.parametrize("config", [replace(PLAIN, memory=6), replace(STAGED, memory=6)])
def test_what_training_saw_last_stays_in_sight_and_in_the_checkpoint(config):
    model, batch, later = build(config), map_batch(), map_batch(seed=1)
    for one in (batch, later):
        model.loss(one)
    phrases = model.memory.tokens if isinstance(model, TRIS) else model.memory.tokens[:, 0]
    assert torch.equal(phrases, torch.cat([later.tokens, batch.tokens[:2]]))
    model.eval()
    read = build(config).eval()
    read.load_state_dict(model.state_dict())
    maps = model.respond(batch).scores
    assert torch.equal(read.respond(batch).scores, maps)
    assert torch.equal(model.memory.tokens, read.memory.tokens)  # asking changes nothing
    model.memory.tokens.copy_(model.memory.tokens.flip(0))
    torch.testing.assert_close(model.respond(batch).scores, maps, atol=1e-4, rtol=1e-4)  # their order says nothing
    model.memory.tokens[4:] = 0  # not yet seen
    assert len(model.memory.phrases) == 4
    model.loss(map_batch(seed=2))
    assert not torch.allclose(model.respond(batch).scores, maps, atol=1e-4)


def test_terms_by_switch():
    batch = map_batch()
    assert set(build(PLAIN).loss(batch)) == {"class"}
    assert set(build(STAGED).loss(batch)) == {"class", "shrinking", "collision"}
    assert set(build(replace(STAGED, has_shrinking=False)).loss(batch)) == {"class", "collision"}
    assert set(build(replace(STAGED, stages=1)).loss(batch)) == {"class", "collision"}  # nothing to shrink from
    assert set(build(replace(STAGED, compat="released")).loss(batch)) == {"class", "shrinking", "anchor", "collision"}


class FixedJudge:
    """Every masked image is like every phrase by the cosine 0.2."""

    def images(self, squares: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[1.0, 0.0]]).expand(len(squares), 2)

    def texts(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[0.2, 0.0]]).expand(len(tokens), 2)


def test_phrases_without_a_negative_are_left_out_of_its_term():
    model, batch = build(replace(PLAIN, same_image_negatives=3)), map_batch()
    model._judge = [FixedJudge()]
    alike = replace(batch, tokens=batch.tokens[:1].repeat(4, 1))  # nothing in the batch says anything else
    assert model.loss(batch)["negative"].item() == pytest.approx(0.223144, abs=1e-5)  # -ln(0.8)
    assert model.loss(alike)["negative"].item() == 0.0
    alike.tokens[3] = batch.tokens[3]
    assert model.loss(alike)["negative"].item() == pytest.approx(0.223144, abs=1e-5)


def test_without_region_losses_no_proposals_are_needed():
    model = build(replace(STAGED, has_shrinking=False, has_disambiguation=False))
    assert not model.needs_proposals and set(model.loss(replace(map_batch(), proposals=None))) == {"class"}


@pytest.mark.parametrize(
    ("config", "needs"),
    [
        (PLAIN, None),
        (replace(PLAIN, same_image_negatives=3), ("same_image_negatives", "0")),
        (STAGED, ("has_disambiguation", "false")),
        (replace(STAGED, has_disambiguation=False), None),
    ],
)
def test_what_parts_phrases_of_different_objects_is_named(config, needs):
    assert build(config).needs_groups == needs


def test_regions_are_weighed_after_the_epochs_of_classification_alone():
    model = build(replace(STAGED, warm_epochs=2))
    terms = [set(model.loss(replace(map_batch(), epoch=epoch))) for epoch in range(4)]
    assert terms == [{"class"}] * 2 + [{"class", "shrinking", "collision"}] * 2


@pytest.mark.parametrize("empty", ["one image", "all images"])
def test_images_without_proposals_teach_by_classification(empty):
    batch = map_batch()
    proposals = batch.proposals.clone()
    proposals[0 if empty == "one image" else slice(None)] = False
    terms = build(STAGED).loss(replace(batch, proposals=proposals))
    assert all(torch.isfinite(term) for term in terms.values())
    assert terms["collision"].item() == 0.0  # the only pair of objects is in the first image


class BrightnessJudge(FixedJudge):
    """Masked images are like every phrase the more, the brighter they are."""

    def images(self, squares: torch.Tensor) -> torch.Tensor:
        return squares.mean((1, 2, 3))[:, None] / 255 * torch.tensor([[1.0, 0.0]])


def test_pcnet_calibrates_as_tris_does_where_asked():
    model = build(replace(STAGED, has_shrinking=False, has_disambiguation=False, same_image_negatives=2))
    model._judge = [BrightnessJudge()]
    terms = model.loss(map_batch())
    assert set(terms) == {"class", "negative"} and torch.isfinite(terms["negative"])
    terms["negative"].backward()
    assert model.pixel_project.weight.grad.abs().sum() > 0
    assert model.needs_groups == ("same_image_negatives", "0") and model.config.judge in model.starts
    published = replace(STAGED, towers=CLIP_TOWERS, judge="clip_image_text")
    assert "clip_image_text" not in build(published).starts  # its text tower comes with it
    assert "clip_image_text" in build(replace(published, same_image_negatives=2)).starts


@pytest.mark.parametrize(("most", "pairs"), [(None, {(0, 1), (0, 3), (1, 3)}), (1, {(0, 1)}), (2, {(0, 1), (0, 3)})])
def test_disambiguation_compares_so_many_pairs_of_an_image(most, pairs):
    batch = replace(map_batch(), image_of=torch.tensor([0, 0, 1, 0]), group_of=torch.tensor([0, 1, 2, 3]))
    assert set(zip(*(rows.tolist() for rows in pairs_of_objects(batch, most=most)), strict=True)) == pairs


def test_phrases_that_read_the_same_are_not_parted():
    batch = map_batch()
    batch.tokens[1] = batch.tokens[0]
    one, other = pairs_of_objects(replace(batch, image_of=torch.tensor([0, 0, 0, 1])), most=None)
    assert set(zip(one.tolist(), other.tolist(), strict=True)) == {(0, 2), (1, 2)}


def test_disambiguation_parts_phrases_that_collide():
    """Two phrases about different objects that begin on one proposal end on two."""
    torch.manual_seed(0)
    model = build(replace(STAGED, stages=1, has_shrinking=False))
    batch = map_batch()
    same = replace(batch, tokens=batch.tokens.clone())
    same.tokens[1] = same.tokens[0]
    same.tokens[1, 0] = (same.tokens[0, 0] - 2) % (len(VOCABULARY) - 3) + 3
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    history = []
    for _ in range(40):
        terms = model.loss(same)
        history.append(terms["collision"].item())
        optimiser.zero_grad()
        (terms["class"] + terms["collision"]).backward()
        optimiser.step()
    assert history[-1] == 0.0


def test_divergence_parts_phrases():
    model = build(replace(STAGED, has_shrinking=False, disambiguation="divergence"))
    batch = map_batch()
    before = model.loss(batch)["collision"]
    assert 0.0 < before.item() < 1.0
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(10):
        optimiser.zero_grad()
        model.loss(batch)["collision"].backward()
        optimiser.step()
    assert model.loss(batch)["collision"] < before / 2


@pytest.mark.parametrize(
    "config", [PLAIN, replace(PLAIN, prompt="to_picture"), STAGED, replace(STAGED, modulation="add")]
)
def test_training_reaches_every_new_part(config):
    model = build(config).train()
    terms = model.loss(map_batch())
    torch.stack(list(terms.values())).sum().backward()
    silent = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []
    groups = model.parameter_groups()
    listed = {id(p) for group, _ in groups for p in group}
    assert listed == {id(p) for p in model.parameters() if p.requires_grad}


@torch.no_grad()
def test_levels_choose_the_grid():
    squares = map_batch().squares
    assert Towers(TOWERS, VOCABULARY).eval().pixels(squares).shape == (2, 24, 8, 8)
    assert Towers(replace(TOWERS, levels=1), VOCABULARY).eval().pixels(squares).shape == (2, 16, 4, 4)
