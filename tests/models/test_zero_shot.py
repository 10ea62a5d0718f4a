"""The teacher without training: the box whose class, colour, size, place and neighbours the phrase names.

Its text encoder is made up: a word has a direction of its own, words that mean one thing share it, and a text is the
sum of its words. So what each phrase names is known.
"""

from dataclasses import asdict, replace

import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from torch import Tensor

from deixis.batches.samples import StoredExpertMaps
from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import ConfigError, DataError
from deixis.core.records import write_json
from deixis.cues.things import read_things
from deixis.imaging.colour_names import COLOURS, PARTS
from deixis.imaging.letterbox import Framing, Letterbox
from deixis.labelling.labelled_parts import label_pairs
from deixis.labelling.matching import Matcher
from deixis.labelling.rules import LabelParams
from deixis.language.text import build_vocabulary
from deixis.language.tokens import encode
from deixis.types import Detections, TeacherBatch
from models.loading.teachers import load_teacher
from models.teachers.zero_shot import ZeroShot, ZeroShotConfig, closeness
from models.text.bert import BERT, BERTConfig
from stages.train_teacher import train_teacher

CATEGORIES = ["zebra", "kite", "pizza", "airplane"]  # the last has four other names
SAME = {"jet": "airplane", "plane": "airplane", "aircraft": "airplane", "airliner": "airplane", "pony": "zebra"}
WORDS = [*CATEGORIES, *SAME, "lamp", "striped", "old"]  # colours say nothing to it
VOCABULARY = build_vocabulary(WORDS)
CONFIG = ZeroShotConfig(
    num_classes=4,
    num_names=8,
    text=BERTConfig(vocabulary=None, length=8, width=16, layers=1, heads=1, feedforward=4),
)
SIDE = 200
CPU = torch.device("cpu")


def made_up_encoder() -> BERT:
    """Neither place nor neighbours count; words outside of the vocabulary say nothing."""
    encoder = BERT(CONFIG.text, VOCABULARY)
    for name, parameter in encoder.named_parameters():
        parameter.data.fill_(1.0 if name.endswith("LayerNorm.weight") else 0.0)
    meanings = sorted({SAME.get(word, word) for word in WORDS})
    for number, word in enumerate(VOCABULARY):
        if word in WORDS:
            encoder.embeddings.word_embeddings.weight.data[number, meanings.index(SAME.get(word, word))] = 1.0
    return encoder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder of frozen models: the encoder, and a detector whose card lists categories."""
    folder = tmp_path_factory.mktemp("weights")
    save_checkpoint(made_up_encoder(), folder / "bert", config={"model": asdict(CONFIG.text)})
    write_json({"kind": "yolox", "categories": CATEGORIES}, folder / "detector/config.json")
    return folder


def ready(weights, **changes) -> ZeroShot:
    model = ZeroShot(replace(CONFIG, **changes), VOCABULARY).eval()
    model.knows(WORDS)  # with weights that mean nothing; that must not stay
    model.start_from(weights, CPU)
    return model


@pytest.fixture(scope="module")
def teacher(weights):
    return ready(weights)


def thing(kind: str, left: float, top: float, *, side: float = 20.0, sure: float = 0.8, colour: str = "grey") -> dict:
    return {"kind": kind, "box": (left, top, left + side, top + side), "sure": sure, "colour": colour}


def seen(*images) -> Detections:
    """What a detector says of images with these things."""
    boxes = torch.zeros(len(images), len(images[0]), 1, 9)
    colours = torch.zeros(len(images), len(images[0]), len(PARTS), len(COLOURS))
    for row, things in enumerate(images):
        for column, it in enumerate(things):
            left, top, right, bottom = it["box"]
            boxes[row, column, 0, :5] = torch.tensor(
                [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top, it["sure"]]
            )
            boxes[row, column, 0, 5 + CATEGORIES.index(it["kind"])] = 0.9
            by_part = it["colour"] if isinstance(it["colour"], dict) else dict.fromkeys(PARTS, it["colour"])
            for part, colour in by_part.items():
                colours[row, column, list(PARTS).index(part), COLOURS.index(colour)] = 1.0
    cells = torch.arange(boxes.shape[1]).expand(len(images), -1)
    return Detections(maps=(), boxes=boxes, cells=cells, colours=colours)


def batch_of(detections: Detections, phrases, image_of=None) -> TeacherBatch:
    rows = torch.tensor(image_of or [0] * len(phrases))
    tokens = encode(phrases, VOCABULARY, 8)
    return TeacherBatch(tokens, rows, detections, StoredExpertMaps({}, [], CPU), texts=tuple(phrases))


def scores(teacher, phrases, *images, image_of=None) -> Tensor:
    return teacher.match(batch_of(seen(*images), phrases, image_of)).scores


def answer(teacher, phrase: str, *things) -> int:
    """Number of the thing that it chooses."""
    return int(scores(teacher, [phrase], list(things))[0].argmax())


def test_class_words_choose_the_box(teacher):
    things = thing("zebra", 0, 0), thing("kite", 60, 0), thing("pizza", 120, 0, sure=0.95), thing("airplane", 0, 90)
    for phrase, expected in {
        "zebra": 0,
        "the kite": 1,
        "pizza": 2,
        "jet": 3,
        "striped pony": 0,
        "old plane": 3,
    }.items():
        assert answer(teacher, phrase, *things) == expected, phrase


def test_the_noun_counts_beside_its_phrase(weights):
    """A kite said to be striped and old is a kite, though most of its words are not."""
    shares = [
        float(ready(weights, share_noun=share).named_categories([read_things("striped old kite")])[0, 1])
        for share in (0.0, 0.3, 1.0)
    ]
    assert shares[0] < shares[1] < shares[2] and shares[2] > 0.9


def test_named_categories_are_probabilities_and_equal_where_no_kind_is_named(teacher):
    named = teacher.named_categories([read_things("zebra"), read_things("the red one"), read_things("lamp")])
    torch.testing.assert_close(named.sum(1), torch.ones(3))
    assert named[0, 0] > 0.9 and (named[1] == 0.25).all()
    assert named[2].max() < 0.3  # no category is like a lamp


def test_the_surer_of_two_boxes_answers(teacher):
    assert answer(teacher, "zebra", thing("zebra", 0, 0, sure=0.5), thing("zebra", 60, 0, sure=0.9)) == 1


def test_an_unlikely_class_does_not_win_by_confidence_alone(teacher):
    assert answer(teacher, "zebra", thing("zebra", 0, 0, sure=0.2), thing("kite", 60, 0, sure=1.0)) == 0


def test_colours_break_ties(teacher):
    things = thing("kite", 0, 0, colour="blue"), thing("kite", 60, 0, sure=0.7, colour="red")
    assert [answer(teacher, phrase, *things) for phrase in ("kite", "red kite", "blue kite", "the red one")] == [
        0,
        1,
        0,
        1,
    ]
    assert answer(teacher, "red kite", thing("kite", 0, 0, colour="blue"), thing("pizza", 60, 0, colour="red")) == 0


def test_colours_are_looked_for_where_they_are_said_to_be(teacher):
    capped = thing("zebra", 0, 0, colour={"head": "red", "trunk": "blue"})
    shirted = thing("zebra", 60, 0, colour={"head": "blue", "trunk": "red"})
    assert answer(teacher, "zebra with a red cap", capped, shirted) == 0
    assert answer(teacher, "zebra in red shirt", capped, shirted) == 1


def test_words_of_size(teacher):
    large, small = thing("pizza", 0, 0, side=60), thing("pizza", 100, 0, side=20)
    assert answer(teacher, "pizza", small, large) == 1  # people speak of what is large
    assert answer(teacher, "big pizza", large, small) == 0
    assert answer(teacher, "small pizza", large, small) == 1


def test_other_things_are_where_the_one_that_is_meant_stands(teacher):
    near, far, other = thing("kite", 100, 100), thing("kite", 0, 0, sure=0.9), thing("pizza", 122, 100)
    assert answer(teacher, "kite", near, far, other) == 1
    for phrase in ("kite near the pizza", "kite on a pizza", "kite with a pizza"):
        assert answer(teacher, phrase, near, far, other) == 0, phrase
    assert answer(teacher, "kite near the lamp", near, far, other) == 1  # of which the detector knows nothing
    assert answer(teacher, "pizza next to a kite", near, far, other) == 2


def test_other_things_have_the_colours_that_are_said_of_them(teacher):
    red, blue = thing("pizza", 0, 22, colour="red"), thing("pizza", 100, 22, colour="blue")
    things = thing("kite", 0, 0), thing("kite", 100, 0), red, blue
    assert [answer(teacher, f"kite beside the {colour} pizza", *things) for colour in ("red", "blue")] == [0, 1]


def test_closeness():
    boxes = [[0.0, 0, 20, 20], [20, 0, 40, 20], [0, 0, 40, 40], [150, 150, 170, 170], [1, 0, 21, 20], [5, 5, 5, 5]]
    near = closeness(torch.tensor([boxes]))[0]
    assert near.isfinite().all() and near.min() >= 0 and near.max() <= 1
    torch.testing.assert_close(near, near.T)
    assert near[0, 1] == pytest.approx(0.5) and near[0, 2] == 1 and near[0, 3] < 1e-3
    assert near.diagonal()[:5].eq(0).all() and near[0, 4] == 0  # a thing does not stand beside itself


def test_each_phrase_is_answered_by_itself(teacher):
    first = [thing("zebra", 0, 0), thing("kite", 60, 0, colour="red"), thing("pizza", 90, 0), thing("kite", 9, 90)]
    planes = thing("airplane", 60, 0, colour="red"), thing("airplane", 90, 0, colour="blue")
    second = [thing("kite", 9, 0, side=50), planes[1], thing("pizza", 84, 22), planes[0]]
    phrases = ["red kite", "kite near the pizza", "big pizza", "the red one", "zebra", "pizza near the red plane"]
    image_of = [1, 0, 1, 1, 0, 1]
    together = scores(teacher, phrases, first, second, image_of=image_of)
    for row, (phrase, image) in enumerate(zip(phrases, image_of, strict=True)):
        alone = scores(teacher, [phrase], [first, second][image])
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-5)


def test_candidates_are_what_the_detector_said(teacher):
    found = teacher.match(batch_of(seen([thing("kite", 10, 20), thing("zebra", 60, 0, sure=0.4)]), ["kite", "zebra"]))
    assert found.boxes_xyxy[1].tolist() == [[10, 20, 30, 40], [60, 0, 80, 20]]
    torch.testing.assert_close(found.objectness, torch.tensor([[0.8, 0.4]] * 2))
    assert found.classes.argmax(-1).tolist() == [[1, 0]] * 2 and found.experts.shape == (2, 0)
    assert found.masks is None


def test_boxes_of_cells_are_refused(teacher):
    cells = replace(seen([thing("kite", 0, 0)]), cells=None, colours=None)
    with pytest.raises(ConfigError, match=r"after suppression.*Write extraction\.survivors: \{\}.*dvc repro"):
        teacher.match(batch_of(cells, ["kite"]))


@pytest.mark.parametrize(
    "stated",
    [
        pytest.param({}, id="none"),
        pytest.param({"categories": CATEGORIES[:3]}, id="fewer"),
        pytest.param({"categories": ["zebra", "kite", "pizza", "lamp"]}, id="as-many-with-fewer-names"),
        pytest.param({"categories": [*CATEGORIES, "lamp"]}, id="more"),
    ],
)
def test_a_detector_of_no_or_other_categories_is_refused(stated, weights, tmp_path):
    save_checkpoint(made_up_encoder(), tmp_path / "bert", config={"model": asdict(CONFIG.text)})
    write_json({"kind": "yolox"} | stated, tmp_path / "detector/config.json")
    with pytest.raises(DataError, match=r"detector/config\.json: names \d categ.*expected 4 and 8\. Set teachers\."):
        ready(tmp_path)


def test_missing_frozen_models_name_the_stage_that_makes_them(weights, tmp_path):
    with pytest.raises(DataError, match=r"import_weights@bert"):
        ready(tmp_path)
    save_checkpoint(made_up_encoder(), tmp_path / "bert", config={"model": asdict(CONFIG.text)})
    with pytest.raises(DataError, match=r"import_weights@detector"):
        ready(tmp_path)


def test_what_it_does_not_know(teacher):
    phrases = ["zebra", "old jet", "lamp", "striped lamp", "the red one", "another one"]
    assert teacher.knows(phrases) == [True, True, False, False, True, True]


class Stored:
    """Things of some images, as a feature store says them."""

    def __init__(self, *images) -> None:
        found = seen(*images)
        self._arrays = {"survivor_cells": found.cells, "survivor_boxes": found.boxes, "survivor_colours": found.colours}
        self._arrays |= dict.fromkeys(("coarse", "middle", "fine"), torch.zeros(len(images), 1, 1, 1))

    def holds(self, array: str) -> bool:
        return array in self._arrays

    def read(self, array: str, image_ids, device) -> Tensor:
        return self._arrays[array][list(image_ids)].to(device).float()


def labels(teacher, phrases, *things) -> pd.DataFrame:
    """Labels of phrases about one image of twice the square's width."""
    frame = Letterbox(2 * SIDE, 2 * SIDE, SIDE, framing=Framing(place="top_left"))
    table = pd.DataFrame({"image_id": 0, "expression": phrases, "text": phrases, "split": "train"})
    table = table.assign(sample_id=[str(number) for number in range(len(phrases))], group=range(len(phrases)))
    matcher = Matcher(teacher, {"detector": Stored(list(things))}, {0: frame}, 3, CPU)
    return label_pairs(matcher, table, LabelParams())


def test_places_are_weighed_beside_it(teacher):
    kites = thing("kite", 10, 90), thing("kite", 90, 90, sure=0.9), thing("kite", 170, 90)
    pizza, zebra = thing("pizza", 100, 20), thing("zebra", 30, 160)
    expected = {
        "kite": 1, "kite on the left": 0, "right kite": 2, "kite in the middle": 1, "second kite from the right": 1,
        "third kite from left": 2, "kite to the left of the pizza": 0, "pizza above the kite": 3,
        "zebra on the right": 4, "left": 0,
    }  # fmt: skip
    table = labels(teacher, list(expected), *kites, pizza, zebra)
    centres = [(it["box"][0] + it["box"][2], it["box"][1] + it["box"][3]) for it in (*kites, pizza, zebra)]
    found = [((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in table["box"]]
    assert dict(zip(expected, (centres.index(centre) for centre in found), strict=True)) == expected


def test_labels_say_how_sure_they_are_and_why_they_are_not_accepted(teacher):
    things = thing("kite", 10, 90), thing("zebra", 90, 90), thing("pizza", 300, 0)
    table = labels(teacher, ["kite", "lamp on the left", "pizza"], *things)
    assert table["reason"].tolist() == ["", "words", "outside"]
    assert table["accept"].tolist() == [True, False, False]
    assert table["confidence"][0] > 0.8 and table["confidence"][1] == 0
    doubtful = labels(teacher, ["kite"], thing("kite", 10, 90), thing("kite", 90, 90), thing("kite", 160, 90))
    assert doubtful["confidence"][0] < table["confidence"][0]


def test_without_a_weight_of_place_words_of_place_change_nothing(weights):
    things = thing("kite", 10, 90), thing("kite", 90, 90, sure=0.9)
    table = labels(ready(weights, weight_place=0.0), ["kite", "kite on the left"], *things)
    assert table["box"].map(list).tolist()[0] == table["box"].map(list).tolist()[1]


def test_the_stage_writes_one_that_answers_the_same(teacher, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"sample_id": ["a"], "image_id": [0], "expression": "kite", "text": " ".join(WORDS)})
    table.assign(split="train").to_parquet("pairs.parquet")
    write_json({"survivors": {"most": 20}}, tmp_path / "features/detector/meta.json")
    settings = {"num_classes": 4, "num_names": 8, "text": asdict(CONFIG.text)}
    with (tmp_path / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump({"seed": 0, "teachers": {"zero_shot": {"model": settings}}}, stream)
    train_teacher(
        teacher="zero_shot", pairs=tmp_path / "pairs.parquet", features=tmp_path / "features", weights=weights,
        out=tmp_path / "out", curves=tmp_path / "curves.csv", device="cpu",
    )  # fmt: skip
    loaded = load_teacher(tmp_path / "out", CPU)
    things = [thing("kite", 0, 0, colour="red"), thing("kite", 60, 0), thing("airplane", 90, 90)]
    phrases = ["red kite", "jet", "kite near a plane"]
    assert torch.equal(scores(loaded, phrases, things), scores(teacher, phrases, things))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert pd.read_csv("curves.csv")["epoch"].tolist() == [0]
