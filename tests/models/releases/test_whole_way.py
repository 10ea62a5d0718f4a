"""Every release goes the whole way: imported, it answers about an image, labels or predicts a set, and is scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch import Tensor

from answering.predictor import Predictor
from commands.label import label
from deixis.core.errors import ConfigError
from deixis.core.records import write_table
from models.releases import RELEASES
from stages.predict_student import predict_student
from tests.models.releases import (
    carried,
    clip,
    test_importing,
    test_released_dvin,
    test_released_mcn,
    test_released_pcnet,
    test_released_simrec,
    test_released_transvg,
    test_released_tris,
    test_released_tris_step2,
    test_released_weakmcn,
)
from tests.models.releases.files import import_state, score_as_right, write_annotations
from tests.small_world import SIDE

pytestmark = pytest.mark.slow

DETECTOR = (8, 16, 24)  # channels of the small world's, from fine to coarse
SEED = 1  # of a PCNet whose random maps respond to something
PHRASES = ["red ball", "the star on the right"]


@dataclass(frozen=True)
class Released:
    """A released file at small sizes: its tensors, how its token list is written, and what no tensor tells."""

    state: Callable[[], dict[str, Tensor]]
    write_tokens: Callable[[Path], Path] = lambda folder: write_annotations(folder / "annotations.json")
    settings: Sequence[str] = ()
    inside: str = "state_dict"  # where in the file the tensors are


def dvin() -> dict[str, Tensor]:
    return test_released_dvin.released(DETECTOR) | carried.dvin_experts()


def weakmcn() -> dict[str, Tensor]:
    distilled, segmentation = 64, test_released_weakmcn.EXPERTS["segmentation_vit"][0]
    state = test_released_weakmcn.released(DETECTOR, distilled=distilled)
    return state | carried.weakmcn_experts(distilled, segmentation)


TEACHERS = {
    "refclip": Released(test_importing.released),
    "dvin": Released(dvin),
    "weakmcn": Released(weakmcn, settings=[f"input_size={SIDE}"]),
    "tris": Released(test_released_tris.released, clip.write_merges, ["input_size=96"], "model"),
    "pcnet": Released(partial(test_released_pcnet.released, seed=SEED), clip.write_merges, ["input_size=96"], "model"),
}
STUDENTS = {
    "simrec": Released(test_released_simrec.released, settings=["input_size=128"]),
    "mcn": Released(test_released_mcn.released, settings=["input_size=128"]),
    "transvg": Released(
        test_released_transvg.released, test_released_transvg.write_pieces, test_released_transvg.SMALL, "model"
    ),
    "tris_step2": Released(test_released_tris_step2.released, clip.write_merges, ["input_size=96"], "model"),
}


def imported(name: str, release: Released, world: Path, folder: Path) -> Path:
    weights, tokens = world / "data/weights/embedded", release.write_tokens(folder)
    out, report = import_state(
        name, release.state(), folder, tokens=tokens, weights=weights, settings=release.settings, inside=release.inside
    )
    assert report.lacking == []
    return out


def few_pairs(world: Path, folder: Path) -> Path:
    """The small world's tables, without its images for training."""
    pairs = pd.read_parquet(world / "data/prepared/toy/pairs.parquet")
    write_table(pairs[pairs["split"] == "val"].reset_index(drop=True), folder / "few/pairs.parquet")
    (folder / "few/images.parquet").symlink_to(world / "data/prepared/toy/images.parquet")
    return folder / "few"


def refuse_other_boxes(answers, rows: pd.DataFrame) -> None:
    """Whether a table holds the boxes that were given about one image."""
    of_image = rows[rows["image_id"] == 4].set_index("expression")
    for answer in answers:
        stored = of_image.loc[answer.phrase, "box"]
        assert (answer.box is None) == (stored is None)
        if stored is not None:
            np.testing.assert_allclose(answer.box, stored, atol=1e-3)


def test_no_release_is_left_out():
    assert set(RELEASES) == {*TEACHERS, *STUDENTS}


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_answers_labels_and_is_scored(world, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    folder, images = imported(name, TEACHERS[name], world, tmp_path), world / "data/raw/toy/images"
    answers = Predictor(folder).predict(images / "4.png", PHRASES)
    label(pairs=few_pairs(world, tmp_path), images=images, out=tmp_path / "labels", model=folder)
    labels = pd.read_parquet(tmp_path / "labels/labels.parquet")
    assert len(labels) == 14 and (labels["teacher"] == name).all() and labels["box"].notna().any()
    assert labels["accept"].any() and labels["mask"].notna().any()
    refuse_other_boxes(answers, labels)
    report = score_as_right(tmp_path / "labels/labels.parquet", world, folder / "config.json", tmp_path)
    assert report["val"]["acc50"] == labels["box"].notna().mean()
    assert report["meta"]["selection"].startswith("as released")


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_answers_predicts_and_is_scored(world, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    folder, images = imported(name, STUDENTS[name], world, tmp_path), world / "data/raw/toy/images"
    answers = Predictor(folder).predict(images / "4.png", PHRASES)
    few = few_pairs(world, tmp_path)
    predict_student(
        student=folder, pairs=few / "pairs.parquet", images=few / "images.parquet", image_root=images,
        segmenter=folder / "weights/segmenter", out=tmp_path / "predictions.parquet",
    )  # fmt: skip
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    assert len(predictions) == 14 and predictions["mask"].notna().any()
    refuse_other_boxes(answers, predictions)
    report = score_as_right(tmp_path / "predictions.parquet", world, folder / "config.json", tmp_path)
    assert report["val"]["acc50"] == 1.0 and report["meta"]["selection"].startswith("as released")
    with pytest.raises(ConfigError, match=r"a student; labels are a teacher's.*deixis predict"):
        label(pairs=few, images=images, out=tmp_path / "labels", model=folder)
