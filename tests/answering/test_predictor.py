"""One image at a time, a model says what the stages made it say to whole sets."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from answering.predictor import Predictor
from deixis.core.errors import ConfigError, DataError
from models.detectors.yolov3 import YOLOv3
from models.experts.contrastive_convnet import ContrastiveConvNet
from models.experts.contrastive_vit import ContrastiveViT
from tests.small_world import PHRASES

MODELS = [
    ("teachers", "refclip"),
    ("teachers", "dvin"),
    ("map_teachers", "tris"),
    ("map_teachers", "pcnet"),
    ("students", "dvin-simrec"),
    ("students", "dvin-mattnet"),
]


def stage_rows(world, kind: str, name: str) -> pd.DataFrame:
    if kind == "students":
        return pd.read_parquet(world / f"data/predictions/toy/{name}.parquet")
    return pd.read_parquet(world / f"data/labels/toy/{name}/labels.parquet")


@pytest.mark.parametrize(("kind", "name"), MODELS)
def test_answers_are_those_of_the_stages(world, kind, name):
    """Also for location words, whose weight and meaning come from the whole labelled set."""
    predictor = Predictor(world / f"data/{kind}/toy/{name}")
    expected = stage_rows(world, kind, name)
    for image_id in (4, 5):
        rows = expected[expected["image_id"] == image_id].set_index("expression").loc[list(PHRASES)]
        answers = predictor.predict(world / f"data/raw/toy/images/{image_id}.png", PHRASES)
        for answer, (phrase, row) in zip(answers, rows.iterrows(), strict=True):
            assert answer.phrase == phrase
            assert (answer.box is None) == (row["box"] is None)
            if answer.box is not None:
                np.testing.assert_allclose(answer.box, row["box"], atol=1e-3)
            assert answer.score == pytest.approx(row["score"], abs=1e-3)
            assert (answer.rle or {}).get("counts") == (row["mask"] or {}).get("counts")
            if kind != "students":
                assert answer.margin == pytest.approx(row["margin"], abs=1e-3)
            second = row.get("runner_up")
            assert (answer.runner_up is None) == (second is None)
            if second is not None:
                np.testing.assert_allclose(answer.runner_up, second, atol=1e-3)


def test_location_words_decide_some_of_these_answers(world):
    """Otherwise the test above would not see them."""
    rows = stage_rows(world, "teachers", "dvin")
    assert any(np.abs(one - other).max() > 1 for one, other in zip(rows["box"], rows["match_box"], strict=True))


def test_phrases_about_one_image_share_its_features(world, monkeypatch):
    looks: dict[str, int] = {}

    def count(kind, method):
        plain = getattr(kind, method)

        def counted(self, squares, **settings):
            looks[kind.__name__] = looks.get(kind.__name__, 0) + len(squares)
            return plain(self, squares, **settings)

        monkeypatch.setattr(kind, method, counted)

    count(YOLOv3, "detect")
    count(ContrastiveViT, "encode")
    count(ContrastiveConvNet, "encode")
    answers = Predictor(world / "data/teachers/toy/dvin").predict(world / "data/raw/toy/images/0.png", PHRASES)
    assert len(answers) == len(PHRASES)
    assert looks.pop("YOLOv3") == 1
    assert list(looks.values()) == [1]  # the image was routed to one of the two experts; the other never looked


def test_a_phrase_is_answered_as_if_it_were_alone(world):
    predictor, path = Predictor(world / "data/teachers/toy/dvin"), world / "data/raw/toy/images/2.png"
    together = predictor.predict(path, PHRASES)
    for phrase, answer in zip(PHRASES, together, strict=True):
        alone = predictor.predict(path, [phrase])[0]
        assert alone.box == pytest.approx(answer.box, abs=1e-3)


def test_a_teacher_without_its_labels_guesses_what_place_weighs_and_says_so(world, tmp_path, capsys):
    shutil.copytree(world / "data/teachers/toy/dvin", tmp_path / "dvin")
    predictor = Predictor(tmp_path / "dvin", weights=world / "data/weights/embedded")
    assert "no labelling.json" in capsys.readouterr().err
    assert predictor.predict(world / "data/raw/toy/images/0.png", ["left red ball"])[0].box is not None
    for name in ("labelling.json", "location_kinds.parquet"):
        shutil.copy(world / "data/labels/toy/dvin" / name, tmp_path / "dvin")
    carried = Predictor(tmp_path / "dvin", weights=world / "data/weights/embedded")
    assert "no labelling.json" not in capsys.readouterr().err
    expected = Predictor(world / "data/teachers/toy/dvin")
    path = world / "data/raw/toy/images/0.png"
    assert carried.predict(path, PHRASES) == expected.predict(path, PHRASES)


def test_files_images_and_arrays_get_one_answer(world):
    predictor, path = Predictor(world / "data/students/toy/dvin-simrec"), world / "data/raw/toy/images/1.png"
    with Image.open(path) as image:
        image.load()
    expected = predictor.predict(path, ["red ball"])
    assert predictor.predict(str(path), ["red ball"]) == expected
    assert predictor.predict(image, ["red ball"]) == expected
    assert predictor.predict(np.asarray(image), ["red ball"]) == expected
    assert predictor.predict(path, ["red ball"], with_masks=False)[0].mask is None
    assert expected[0].mask is not None and expected[0].mask.shape == (image.height, image.width)


def test_an_image_that_says_it_lies_on_its_side_is_turned(world, tmp_path):
    predictor = Predictor(world / "data/students/toy/dvin-simrec")
    with Image.open(world / "data/raw/toy/images/0.png") as image:
        exif = Image.Exif()
        exif[0x0112] = 6  # the top of the scene is at the right side of what is stored
        image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
        expected = predictor.predict(image, ["red ball"])
    assert predictor.predict(tmp_path / "turned.png", ["red ball"]) == expected


def test_a_missing_model_names_those_that_are_trained(world, tmp_path, monkeypatch):
    monkeypatch.chdir(world)
    with pytest.raises(DataError, match=r"Trained here: .*data/teachers/toy/dvin.*dvc repro"):
        Predictor("data/teachers/scenes_plus/dvin")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"Nothing is trained here yet; to train, run: dvc repro"):
        Predictor("data/teachers/scenes_plus/dvin")


def test_other_models_and_inputs_are_refused(world):
    with pytest.raises(ConfigError, match=r"none that answers phrases"):
        Predictor(world / "data/weights/embedded/detector")
    predictor, path = Predictor(world / "data/teachers/toy/refclip"), world / "data/raw/toy/images/0.png"
    with pytest.raises(DataError, match='a phrase without a word: "!!"'):
        predictor.predict(path, ["red ball", "!!"])
    with pytest.raises(DataError, match=r"no phrase. Allowed"):
        predictor.predict(path, [])
    with pytest.raises(ConfigError, match=r'Allowed: a list of texts, such as \["red ball"\]'):
        predictor.predict(path, "red ball")
    with pytest.raises(DataError, match=r"float64 \[4, 4, 3\]. Allowed: uint8"):
        predictor.predict(np.zeros((4, 4, 3)), ["red ball"])
    for photo, message in (
        ("none.png", "no such image. Restore it"),
        ("", "a folder and not an image. Put an image there"),
    ):
        with pytest.raises(DataError, match=f"{message} or name another image$"):
            predictor.predict(path.parent / photo, ["red ball"])


@pytest.mark.parametrize("model", ["teachers/toy/refclip", "map_teachers/toy/tris", "students/toy/dvin-mattnet"])
def test_a_phrase_that_is_not_read_to_its_end_is_told_once(world, capsys, model):
    predictor, path = Predictor(world / f"data/{model}"), world / "data/raw/toy/images/0.png"
    predictor.predict(path, ["red ball"])
    assert "to their end" not in capsys.readouterr().err
    for _ in range(2):
        predictor.predict(path, ["please " * 20 + "the red ball"])
    assert capsys.readouterr().err.count(f"{model}: phrases as long as 'please") == 1


@pytest.mark.parametrize("damaged", ["teachers/toy/refclip", "weights/embedded/detector", "weights/embedded/segmenter"])
def test_a_damaged_checkpoint_does_not_answer(world, tmp_path, damaged):
    shutil.copytree(world / "data", tmp_path / "data")
    path = tmp_path / "data" / damaged / "model.safetensors"
    whole = bytearray(path.read_bytes())
    whole[-5] ^= 64  # in a weight: still a whole file of the right shapes
    path.write_bytes(whole)
    with pytest.raises(DataError, match=f"{damaged}/model.safetensors: not the file that config.json describes"):
        Predictor(tmp_path / "data/teachers/toy/refclip").predict(world / "data/raw/toy/images/0.png", ["red ball"])
