"""The model for photographs: made of published files, chosen by itself, and honest about what it does not know."""

import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import answering.photographs
from answering.cards import DEFAULT_MODEL
from answering.photograph_weights import SEGMENTER_CARDS, segmenter_in_place
from answering.photographs import default_model
from answering.predictor import Predictor
from commands.label import label
from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import DataError
from deixis.core.records import read_json
from deixis.labelling.domain import fit_domain, write_domain
from deixis.language.category_names import names_of
from deixis.weights.cards import find_card
from models.segmenters.crop_masks import CropMasks, CropMasksConfig
from models.text.bert import BERT, BERTConfig
from tests.models.detectors.yolox_release import Release

pytestmark = pytest.mark.slow

CATEGORIES = ("cat", "cup", "dog", "bird")
TEXT = BERTConfig(vocabulary=8, length=8, width=16, layers=1, heads=2, feedforward=16)
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "cat", "cup", "dog", "red"]
DETECTOR_CARD = """card:
  name: yolox-nano
  role: detector
  kind: yolox
  source: https://example.org
  licence: Apache-2.0
  files: [{name: yolox_nano.pth, sha256: null}]
  trained_on: [{data: made up, labels: box, images: unknown}]
  domain: photographs
  categories: [cat, cup, dog, bird]
"""
BERT_CARD = """card:
  name: all-minilm-l6-v2
  role: text
  kind: bert
  source: https://example.org
  licence: Apache-2.0
  files: [{name: minilm/model.safetensors, sha256: null}, {name: minilm/vocab.txt, sha256: null}]
  trained_on: [{data: made up, labels: none, images: no_images}]
"""
SCALE = """teachers:
  zero_shot:
    model:
      num_classes: 4
      num_names: NAMES
      known_from: -1.0  # the made-up words mean nothing
      text: {vocabulary: 8, length: 8, width: 16, layers: 1, heads: 2, feedforward: 16}
extraction: {survivors: {most: 5}}
labels: {masks: segmenter}
"""


@pytest.fixture
def published(tmp_path, monkeypatch):
    """An empty project, cards of small models, and a function that puts their files in place."""
    cards, folder = tmp_path / "cards", tmp_path / "data" / "published"
    cards.mkdir()
    (cards / "yolox-nano.yaml").write_text(DETECTOR_CARD, encoding="utf-8")
    (cards / "all-minilm-l6-v2.yaml").write_text(BERT_CARD, encoding="utf-8")
    count = sum(len(names_of(category)) for category in CATEGORIES)
    (tmp_path / "scale.yaml").write_text(SCALE.replace("NAMES", str(count)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(answering.photographs, "SCALE", tmp_path / "scale.yaml")
    monkeypatch.setattr("answering.photograph_weights.SEGMENTER_CARDS", ())
    find = partial(find_card, folder=cards)
    for module in ("answering.photograph_weights.find_card", "models.frozen.importing.find_card"):
        monkeypatch.setattr(module, find)
    monkeypatch.setattr("models.frozen.importing.resolve_weights", lambda name: folder / find(name).files[0].name)

    def put() -> None:
        torch.manual_seed(0)
        (folder / "minilm").mkdir(parents=True)
        torch.save(Release("nano", len(CATEGORIES)).state_dict(), folder / "yolox_nano.pth")
        save_file(BERT(TEXT, ()).state_dict(), folder / "minilm" / "model.safetensors")
        (folder / "minilm" / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
        (folder / "minilm" / "config.json").write_text('{"num_attention_heads": 2}', encoding="utf-8")

    return put


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((180, 120)).save(path)
    return path


def test_without_weights_and_without_a_trained_model_it_says_what_to_do(published, photograph):
    with pytest.raises(DataError, match=r"deixis weights fetch yolox-nano all-minilm-l6-v2.*run: dvc repro"):
        default_model(photograph)


def test_with_the_weights_in_place_it_is_made_once_and_answers(published, photograph, capsys):
    published()
    model = default_model(photograph)
    assert model == Path("data/teachers/photographs/zero_shot")
    assert "once" in capsys.readouterr().err
    before = (model / "model.safetensors").stat().st_mtime_ns
    assert default_model(photograph) == model
    assert capsys.readouterr().err == ""
    assert (model / "model.safetensors").stat().st_mtime_ns == before
    [answer] = Predictor(model).predict(photograph, ["the red cup"])
    assert answer.box is not None and answer.mask is None and answer.reason == ""
    assert answer.confidence is not None and 0 < answer.confidence < 1


def test_it_draws_masks_from_when_a_segmenter_is_there(published, photograph, capsys):
    published()
    segmenter = CropMasksConfig(side=32)
    [before] = Predictor(default_model(photograph)).predict(photograph, ["the red cup"])
    card = {"kind": "crop_masks", "model": asdict(segmenter), "labels": "mask"}
    save_checkpoint(CropMasks(segmenter), Path("data/weights/photographs/segmenter"), config=card)
    [after] = Predictor(default_model(photograph)).predict(photograph, ["the red cup"])
    assert before.mask is None and before.mask_quality is None
    assert after.mask is not None and after.box == before.box
    assert capsys.readouterr().err.count("once") == 2
    shutil.rmtree("data/weights/photographs/segmenter")
    [without] = Predictor(default_model(photograph)).predict(photograph, ["the red cup"])
    assert without.mask is None


def test_the_quickest_published_segmenter_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("answering.photograph_weights.weights_folder", lambda: tmp_path)
    assert segmenter_in_place() is None
    for card in reversed(SEGMENTER_CARDS):
        for file in find_card(card).files:
            (tmp_path / file.name).touch()
        assert segmenter_in_place() == card


def test_other_settings_make_it_anew(published, photograph, tmp_path, capsys):
    published()
    default_model(photograph)
    scale = tmp_path / "scale.yaml"
    scale.write_text(scale.read_text().replace("known_from: -1.0", "known_from: 0.5"), encoding="utf-8")
    model = default_model(photograph)
    assert read_json(model / "config.json", made_by="")["model"]["known_from"] == 0.5
    assert capsys.readouterr().err.count("once") == 2


def test_a_phrase_that_it_cannot_place_is_not_accepted(published, photograph, tmp_path):
    published()
    scale = tmp_path / "scale.yaml"
    scale.write_text(scale.read_text().replace("known_from: -1.0", "known_from: 2.0"), encoding="utf-8")
    [answer] = Predictor(default_model(photograph)).predict(photograph, ["the red cup"])
    assert (answer.reason, answer.confidence) == ("words", 0.0)


def test_a_phrase_in_a_script_that_it_cannot_spell_is_not_accepted(published, photograph):
    published()
    answers = Predictor(default_model(photograph)).predict(photograph, ["लाल गेंद", "红色的球", "the red cup"])
    assert [answer.reason for answer in answers] == ["words", "words", ""]


def test_a_model_of_another_domain_says_so_once_and_accepts_nothing_unless_asked(world, photograph, tmp_path, capsys):
    """The domain of the toy detector, which saw too few images to have one, is written down here."""
    weights = tmp_path / "weights"
    shutil.copytree(world / "data" / "weights" / "embedded", weights)
    widths = read_json(weights / "detector" / "config.json", made_by="")["model"]["widths"][-3:]
    far = torch.randn(100, 2 * sum(widths), generator=torch.Generator().manual_seed(0)) * 1e-3 + 100
    write_domain(fit_domain("drawn scenes", far, far), weights / "detector")
    own = tmp_path / "own"
    (own / "images").mkdir(parents=True)
    photograph.rename(own / "images" / "photo.png")
    (own / "pairs.csv").write_text("image,text\nphoto.png,the red ball\nphoto.png,the star\n", encoding="utf-8")
    teacher = world / "data" / "teachers" / "toy" / "dvin"
    label(pairs=own, out=tmp_path / "labels", model=teacher, weights=weights)
    told = capsys.readouterr().err
    assert told.count("knows drawn scenes, and") == 1
    assert "0 of them accepted" in told
    label(pairs=own, out=tmp_path / "asked", model=teacher, weights=weights, any_domain=True)
    assert "2 of them accepted" in capsys.readouterr().err


def test_an_image_that_the_reference_teacher_knows_is_left_to_it(published, photograph, monkeypatch):
    published()
    DEFAULT_MODEL.mkdir(parents=True)
    (DEFAULT_MODEL / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(answering.photographs, "_is_drawn", lambda image: True)
    assert default_model(photograph) == DEFAULT_MODEL
    assert default_model() == Path("data/teachers/photographs/zero_shot")  # of many images nobody knows which
