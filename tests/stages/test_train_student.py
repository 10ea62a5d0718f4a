"""Which masks a student learns from, and that its card counts the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deixis.core.errors import DataError
from deixis.imaging.masks import RLE, encode_mask
from stages.train_student import train_student
from tests.factories import training_files
from training import students as student_training

ROOT = Path(__file__).parents[2]
BOX, COUNT = [0.0, 0.0, 20.0, 10.0], 24


def rectangle(width: int) -> RLE:
    mask = np.zeros((20, 30), bool)
    mask[:10, :width] = True
    return encode_mask(mask)


@pytest.fixture
def card(tmp_path, monkeypatch):
    """Trains MCN for no step on labels with the given masks and columns, and returns its card."""
    facts: dict[str, Any] = {}

    def keep(_model: Any, _out: Any, config: dict[str, Any]) -> None:
        facts.clear()
        facts.update(config)

    monkeypatch.setattr(student_training, "fit", lambda *_, **__: {})
    monkeypatch.setattr(student_training, "start_part", lambda *_: None)
    monkeypatch.setattr(student_training, "save_checkpoint", keep)
    monkeypatch.setattr(student_training, "run_key", lambda *_: "key")
    ids = [str(number) for number in range(COUNT)]
    pairs = pd.DataFrame({"sample_id": ids, "image_id": range(COUNT), "expression": "ball", "text": "ball"})
    pairs.assign(split="train").to_parquet(tmp_path / "pairs.parquet")
    images = pd.DataFrame({"image_id": range(COUNT), "path": "none.png", "width": 30, "height": 20})
    images.to_parquet(tmp_path / "images.parquet")

    def train(masks: list[RLE | None], **columns: Any) -> dict[str, Any]:
        labels = {"sample_id": ids, "box": [BOX] * COUNT, "mask": masks, "accept": True, "teacher": "dvin"}
        pd.DataFrame(labels | columns).to_parquet(tmp_path / "labels.parquet")
        train_student(
            student="mcn",
            labels=tmp_path / "labels.parquet",
            pairs=tmp_path / "pairs.parquet",
            device="cpu",
            files=training_files(tmp_path, params=ROOT / "params.yaml"),
        )
        return facts

    return train


def test_the_card_counts_pairs_without_a_label_and_refused_labels(card):
    ids, accept = ["elsewhere", *map(str, range(1, COUNT))], [True] * (COUNT - 2) + [False] * 2
    facts = card([rectangle(20)] * COUNT, sample_id=ids, accept=accept)
    assert (facts["labels_missing"], facts["labels_refused"]) == (1, 2)
    whole = card([rectangle(20)] * COUNT)
    assert not {"labels_missing", "labels_refused"} & whole.keys()


def test_the_card_says_how_many_decisions_of_people_the_labels_hold(card):
    human = ["accept", "box", "reject"] + [""] * (COUNT - 3)
    facts = card([rectangle(20)] * COUNT, human=human, accept=[True, True, False] + [True] * (COUNT - 3))
    assert (facts["human_decisions"], facts["supervision"]) == (3, "dvin, and 3 human decisions")
    for undecided in ({}, {"human": ""}):
        facts = card([rectangle(20)] * COUNT, **undecided)
        assert "human_decisions" not in facts and facts["supervision"] == "dvin"


MASKS = [rectangle(20), rectangle(5), rectangle(0), *[None] * (COUNT - 3)]


@pytest.mark.parametrize(
    ("columns", "refused"),
    [
        ({"mask_source": "segmenter"}, 2),
        ({"mask_source": "detector"}, 1),
        ({"mask_source": "segmenter", "point": [[1, 1]] * COUNT}, 1),
        ({}, 1),
    ],
    ids=["prompted with the box", "not prompted", "prompted at a point", "nobody says"],
)
def test_the_card_counts_labels_without_a_mask_and_masks_that_were_refused(card, columns, refused):
    facts = card(MASKS, **columns)
    assert (facts["masks_refused"], facts["labels_without_mask"]) == (refused, COUNT - 3 + refused)


def test_labels_whose_masks_are_all_refused_teach_no_masks(card):
    with pytest.raises(DataError, match=r"mcn learns masks.*none of the 24 labels.*24 are empty or unlike their box"):
        card([rectangle(0)] * COUNT, mask_source="segmenter")
