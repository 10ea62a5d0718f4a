"""A trained teacher that begins as the one without training."""

import json
from dataclasses import asdict, replace

import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from deixis.batches.features import SURVIVORS, extract
from deixis.batches.samples import StoredExpertMaps
from deixis.core.checkpoints import save_checkpoint
from deixis.labelling.matching import Matcher
from deixis.language.tokens import encode
from deixis.roles import prior_of, stored_experts
from deixis.training.fit import Recipe, fit
from deixis.types import CLASS_WORDS, SCALES, Detections, TeacherBatch
from models.blocks.anchor_matching import AnchorMatcher
from models.blocks.class_words import class_word_maps
from models.loading.teachers import feature_names, load_teacher
from models.teachers.dvin import DViN, DViNConfig
from stages.list_inputs import teacher_inputs
from stages.train_teacher import train_teacher
from tests.factories import dvin, refclip
from tests.models.test_zero_shot import CONFIG, CPU, VOCABULARY, WORDS, ready, seen, thing, weights

__all__ = ["weights"]  # the fixture
SIZES = (16, 8, 4)  # channels, coarse to fine
CHOICE = DViNConfig(
    experts={CLASS_WORDS: 16},
    detector_channels=SIZES,
    fused_width=8,
    joint_width=8,
    code_width=4,
    scales=SCALES,
    prior=CONFIG,
)
IMAGES = (
    [thing("zebra", 0, 0), thing("kite", 60, 0, colour="red"), thing("pizza", 90, 0)],
    [thing("kite", 9, 0, side=50), thing("airplane", 60, 0), thing("pizza", 84, 22)],
    [thing("airplane", 10, 10), thing("zebra", 60, 0, sure=0.3), thing("zebra", 100, 0)],
)
PHRASES = ("zebra", "red kite", "kite", "pizza near the plane", "jet", "the left zebra")
IMAGE_OF = (0, 0, 1, 1, 2, 2)


def photographs(*images) -> Detections:
    """What a detector says of images, with maps to learn from; each thing answers from a cell of its own."""
    found = seen(*images)
    generator = torch.Generator().manual_seed(3)
    maps = tuple(
        torch.randn(len(images), channels, side, side, generator=generator)
        for channels, side in zip(SIZES, (2, 4, 8), strict=True)
    )
    cells = torch.tensor([3, 4, 20]).expand(len(images), -1)  # one of each scale
    return replace(found, maps=maps, cells=cells)


def batch() -> TeacherBatch:
    return TeacherBatch(
        encode(PHRASES, VOCABULARY, 8),
        torch.tensor(IMAGE_OF),
        photographs(*IMAGES),
        StoredExpertMaps({}, [], CPU),
        texts=PHRASES,
    )


def primed(weights, **changes) -> DViN:
    torch.manual_seed(0)
    model = DViN(replace(CHOICE, **changes), VOCABULARY)
    prior = prior_of(model)
    assert prior is not None
    prior.start_from(weights, CPU)
    return model


def trained(model: DViN, folder, *, epochs: int = 8) -> DViN:
    fit(
        model, model.loss, lambda epoch: [batch()], steps_per_epoch=1, device=CPU, scratch=folder,
        recipe=Recipe(epochs=epochs, lr=0.05, warmup_epochs=0, clip_norm=0), weights=model.term_weights,
    )  # fmt: skip
    return model


def test_it_begins_as_the_teacher_without_training(weights):
    torch.testing.assert_close(primed(weights).eval().match(batch()).scores, ready(weights).match(batch()).scores)


def test_learning_leads_away_from_it_and_restraint_holds_it_back(weights, tmp_path):
    begun = ready(weights).match(batch()).scores
    moved = {
        weight: float((trained(primed(weights, weight_restraint=weight), tmp_path).match(batch()).scores - begun).std())
        for weight in (0.1, 100.0)
    }
    assert moved[0.1] > 3 * moved[100.0] > 0


def test_training_leaves_the_prior_alone(weights, tmp_path):
    model = primed(weights)
    before = {name: tensor.clone() for name, tensor in model.prior.state_dict().items()}
    trained(model, tmp_path, epochs=2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.prior.state_dict().items())
    assert not any(parameter.requires_grad for parameter in model.prior.parameters())


def test_it_comes_back_from_its_checkpoint(weights, tmp_path):
    model = trained(primed(weights), tmp_path / "scratch", epochs=2)
    card = {"teacher": "dvin", "model": asdict(model.config), "vocabulary": VOCABULARY}
    save_checkpoint(model, tmp_path / "dvin", config=card)
    loaded = load_teacher(tmp_path / "dvin", CPU)
    assert torch.equal(loaded.match(batch()).scores, model.match(batch()).scores)
    assert (loaded.location_weight, loaded.calibration) == (CONFIG.weight_place, CONFIG.calibration)


def test_what_it_knows_is_what_the_prior_knows(weights):
    asked = ["zebra", "lamp", "the red one"]
    assert Matcher(primed(weights), {}, {}, 8, CPU).knows(asked) == ready(weights).knows(asked) == [True, False, True]


def at_zero() -> AnchorMatcher:
    torch.manual_seed(0)
    matcher = AnchorMatcher(anchor_width=4, text_width=4, joint_width=4)
    matcher.start_at_zero()
    return matcher


def test_an_image_is_no_negative_of_another_phrase_about_it():
    terms = at_zero().primed_loss(
        torch.randn(3, 2, 4), torch.randn(3, 4), prior=torch.zeros(3, 3, 2), image_of=torch.tensor([0, 0, 1]), images=2
    )
    # The first two phrases choose among four anchors, the third among six: the image of the others counts twice
    assert float(terms["contrast"].detach()) == pytest.approx(float(torch.tensor([4.0, 4.0, 6.0]).log().mean()))
    assert float(terms["restraint"].detach()) == 0


def test_a_phrase_is_drawn_to_what_the_prior_believes():
    matcher, text = at_zero(), torch.randn(2, 4)
    anchors = torch.eye(4).view(2, 2, 4)  # two images with two anchors each
    prior = torch.tensor([[[0.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, -1.0]]])
    matcher.primed_loss(anchors, text, prior=prior, image_of=torch.tensor([0, 1]), images=2)["contrast"].backward()
    learned = text @ matcher.text_project.weight.T + matcher.text_project.bias
    pulls = -learned @ matcher.anchor_project.weight.grad  # how each phrase's score of each anchor changes
    assert pulls[0, 1] > pulls[0, 0] and pulls[0, 1] > 0 > max(pulls[0, 2:])
    assert pulls[1, 2] > pulls[1, 3] and pulls[1, 2] > 0 > max(pulls[1, :2])


def test_class_words_stand_at_the_cells_that_suppression_left():
    words = torch.eye(4, 6)
    found = photographs([thing("zebra", 0, 0, sure=0.25), thing("kite", 60, 0, sure=1.0), thing("pizza", 90, 0)])
    maps = class_word_maps(found, words, SCALES)
    assert [tuple(maps[scale].shape) for scale in SCALES] == [(1, 6, 2, 2), (1, 6, 4, 4), (1, 6, 8, 8)]
    assert maps["coarse"][0, :, 1, 1].tolist() == pytest.approx([0.5, 0, 0, 0, 0, 0])  # the zebra, half sure
    assert maps["middle"][0, :, 0, 0].tolist() == pytest.approx([0, 1, 0, 0, 0, 0])
    assert [int((maps[scale] != 0).sum()) for scale in SCALES] == [1, 1, 1]


def test_class_words_of_every_cell():
    boxes = torch.zeros(1, 4, 2, 7)  # two boxes a cell, of which the surer one counts
    boxes[0, :, 0, 4:], boxes[0, :, 1, 4:] = torch.tensor([0.1, 0.0, 1.0]), torch.tensor([0.64, 0.5, 0.0])
    found = Detections((torch.zeros(1, 3, 2, 2),) * 3, boxes)
    maps = class_word_maps(found, torch.tensor([[1.0, 2.0], [5.0, 5.0]]), ("coarse",))
    assert maps["coarse"][0].flatten(1).T.tolist() == [pytest.approx([0.8, 1.6])] * 4


def test_class_words_have_no_store(weights):
    model = primed(weights)
    assert model.expert_names == (CLASS_WORDS,) and stored_experts(model) == ()
    assert feature_names(model) == ("detector",)


def test_the_stage_trains_one_that_answers(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = photographs(*IMAGES)
    arrays = dict(zip(SCALES, found.maps, strict=True))
    arrays |= dict(zip(SURVIVORS, (found.cells, found.boxes, found.colours), strict=True))
    extract(
        [0, 1, 2], lambda ids: {name: array[list(ids)].numpy() for name, array in arrays.items()}, batch_size=4,
        scratch=tmp_path / "scratch", out=tmp_path / "features/detector", meta={"survivors": {"most": 3}},
    )  # fmt: skip
    texts = [" ".join(WORDS), "kite", "kite", "pizza", "jet", "zebra"]  # its vocabulary comes of them
    table = pd.DataFrame({"sample_id": map(str, range(6)), "image_id": IMAGE_OF, "expression": texts, "text": texts})
    table.assign(split="train").to_parquet("pairs.parquet")
    recipe = {"epochs": 2, "batch_size": 6, "lr": 0.01, "warmup_epochs": 0}
    settings = json.loads(json.dumps(asdict(CHOICE)))
    with (tmp_path / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump({"seed": 0, "teachers": {"dvin": {"model": settings, "recipe": recipe}}}, stream)
    train_teacher(
        teacher="dvin", pairs=tmp_path / "pairs.parquet", features=tmp_path / "features", weights=weights,
        out=tmp_path / "out", curves=tmp_path / "curves.csv", device="cpu",
    )  # fmt: skip
    scores = load_teacher(tmp_path / "out", CPU).match(batch()).scores
    begun = ready(weights).match(batch()).scores
    assert 1e-3 < float((scores - begun).abs().max()) < 5
    read = teacher_inputs("dvin", tmp_path / "features", weights, tmp_path / "params.yaml")
    assert [line.split()[0] for line in read["weights"].split(", ")] == ["bert", "detector"]


def test_teachers_without_a_prior_have_none():
    assert prior_of(refclip()) is None and prior_of(dvin()) is None


@pytest.mark.parametrize("setting", [{"experts": {CLASS_WORDS: 16}}, {"text": CONFIG.text}])
def test_what_only_a_prior_brings_is_refused_without_one(setting):
    with pytest.raises(ValueError, match=r"which only a prior brings. Allowed: prior: \{\} beside it"):
        DViNConfig(**setting)
