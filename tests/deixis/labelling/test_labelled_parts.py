"""Labels part by part are those of the whole table, whoever did the parts and however often they were killed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from deixis.batches.features import BOXES, CPU
from deixis.core.pieces import PIECE
from deixis.imaging.letterbox import Letterbox
from deixis.labelling.labelled_parts import LabelledParts, count_reasons, label_in_parts, label_pairs
from deixis.labelling.matching import Matcher
from deixis.labelling.rules import LabelParams
from deixis.types import SCALES
from tests.factories import dvin, refclip, teacher_batch

pytestmark = pytest.mark.slow

IMAGES, SIDE = 6, 64
PHRASES = ("ball", "left ball", "red star on the right", "ball left of the star", "zebra")
RULES = (
    LabelParams(), LabelParams(location_words="off"), LabelParams(same_image="distinct", coverage=0.5),
    LabelParams(location_words="filter", coverage=0.7, min_margin=0.0),
)  # fmt: skip


class Stored:
    """Features of some images, as the stores say them."""

    def __init__(self, arrays: dict[str, Tensor]) -> None:
        self._arrays = arrays

    def holds(self, array: str) -> bool:
        return array in self._arrays

    def read(self, array: str, image_ids, device=CPU) -> Tensor:
        return self._arrays[array][list(image_ids)].to(device).float()


class Counting(Matcher):
    """Counts the tables that were put to the teacher; is killed at the one after `limit`."""

    asked, limit = 0, 10**6

    def weigh(self, table):
        if self.asked == self.limit:
            raise RuntimeError("killed")
        self.asked += 1
        return super().weigh(table)


@dataclass
class World:
    """A teacher over some images and phrases."""

    matcher: Counting
    pairs: pd.DataFrame

    def parts(self) -> Iterator[pd.DataFrame]:
        for image in range(0, IMAGES, 2):
            yield self.pairs[self.pairs["image_id"].isin([image, image + 1])].reset_index(drop=True)


def world(teacher) -> World:
    batch = teacher_batch(IMAGES)
    detector = dict(zip(SCALES, batch.detections.maps, strict=True)) | {BOXES["coarse"]: batch.detections.boxes}
    stores = {name: Stored({"map": maps}) for name, maps in batch.experts.stored.items()}
    frames = {image: Letterbox(SIDE + image, SIDE, SIDE) for image in range(IMAGES)}
    rows = [(image, phrase) for image in range(IMAGES) for phrase in PHRASES]
    pairs = pd.DataFrame(rows, columns=["image_id", "text"])
    pairs = pairs.assign(
        sample_id=[f"s{row}" for row in range(len(rows))], expression=pairs["text"], group=range(len(rows)),
        split=["train" if image < 4 else "val" for image, _ in rows],
    )  # fmt: skip
    return World(Counting(teacher.eval(), stores | {"detector": Stored(detector)}, frames, 4, CPU), pairs)


def read(labelled: LabelledParts) -> pd.DataFrame:
    return pd.concat(map(pd.read_parquet, labelled.paths), ignore_index=True)


@pytest.mark.parametrize("teacher", [refclip, dvin])
@pytest.mark.parametrize("rules", RULES)
def test_parts_are_labelled_as_the_whole(tmp_path, teacher, rules):
    it = world(teacher())
    whole = label_pairs(it.matcher, it.pairs, rules)
    labelled = label_in_parts(it.matcher, it.parts, rules, tmp_path)
    parts = read(labelled)
    assert len(labelled.paths) == 3
    for column in ("sample_id", "split", "reason", "accept"):
        assert parts[column].tolist() == whole[column].tolist()
    for column in ("box", "runner_up", "match_box", "score", "margin"):
        np.testing.assert_allclose(np.vstack(parts[column]), np.vstack(whole[column]), rtol=1e-4, atol=1e-5)
    assert list(map(list, parts["experts"])) == whole["experts"].tolist()
    assert count_reasons(labelled.paths) == whole["reason"][whole["reason"] != ""].value_counts().to_dict()


def test_what_all_parts_taught_is_what_the_whole_teaches(tmp_path):
    it = world(refclip())
    labelled = label_in_parts(it.matcher, it.parts, RULES[0], tmp_path / "parts")
    once = label_in_parts(it.matcher, lambda: iter([it.pairs]), RULES[0], tmp_path / "once")
    assert labelled.facts["phrases"] == once.facts["phrases"] == 3 * IMAGES
    assert labelled.facts["weight"] == once.facts["weight"]
    assert labelled.facts["separation"] == pytest.approx(once.facts["separation"], abs=2e-6)
    texts = ["ball", "red star"]
    torch.testing.assert_close(labelled.kinds.means(texts), once.kinds.means(texts))


def test_a_killed_run_asks_for_no_part_twice(tmp_path):
    it = world(refclip())
    expected = read(label_in_parts(it.matcher, it.parts, RULES[0], tmp_path / "undisturbed"))
    total, it.matcher.asked = it.matcher.asked, 0
    it.matcher.limit = 5  # within the second of three parts, each asked three times
    with pytest.raises(RuntimeError, match="killed"):
        label_in_parts(it.matcher, it.parts, RULES[0], tmp_path / "killed")
    it.matcher.limit, it.matcher.asked = 10**6, 0
    again = read(label_in_parts(it.matcher, it.parts, RULES[0], tmp_path / "killed"))
    assert it.matcher.asked == total - 3
    pd.testing.assert_frame_equal(again, expected)


def test_shares_do_all_rounds_and_leave_nothing_to_ask(tmp_path, monkeypatch):
    it = world(refclip())
    expected = read(label_in_parts(it.matcher, it.parts, RULES[0], tmp_path / "alone"))
    total, it.matcher.asked = it.matcher.asked, 0
    for _ in range(3):
        for share in ("1/2", "0/2"):
            monkeypatch.setenv(PIECE, share)
            with pytest.raises(SystemExit):
                label_in_parts(it.matcher, it.parts, RULES[0], tmp_path / "shared")
    monkeypatch.delenv(PIECE)
    assert it.matcher.asked == total and len(list((tmp_path / "shared").glob("*.labels.parquet"))) == 3
    pd.testing.assert_frame_equal(read(label_in_parts(it.matcher, it.parts, RULES[0], tmp_path / "shared")), expected)
    assert it.matcher.asked == total
