"""What reaches teachers of response maps, and what they are refused."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from deixis.batches.features import extract
from deixis.batches.map_data import MapReader, padded_cues, read_needed_cues
from deixis.batches.samples import grouped_pairs, pack_bits
from deixis.core.errors import DataError
from deixis.types import Reading
from tests.methods import build

VOCABULARY = ["<pad>", "<unk>", "star", "red", "left"]


def write_cues(path, **cues: list[str]):
    path.write_text("".join(json.dumps({"text": text, "cues": cues_of}) + "\n" for text, cues_of in cues.items()))
    return path


def test_cues_are_padded_and_a_missing_phrase_is_named(tmp_path):
    path = write_cues(tmp_path / "cues.jsonl", star=["star"], red=["red", "red star", "red star left"])
    assert padded_cues(path, ["star", "red"], count=2, policy="cycle") == {
        "star": ["star", "star"],
        "red": ["red", "red star"],
    }
    with pytest.raises(DataError, match=r'no cues for 1 of 2 phrases, the first is "box".*dvc repro -f write_cues'):
        padded_cues(path, ["star", "box"], count=2, policy="cycle")


def test_a_teacher_that_reads_cues_asks_for_them():
    reads, does_not = build("map_teacher", "pcnet"), build("map_teacher", "tris")
    assert read_needed_cues(does_not, None, ["star"]) is None
    with pytest.raises(DataError, match=r"reads cues.*run.proposals in params.yaml.*dvc repro"):
        read_needed_cues(reads, None, ["star"])


def test_phrases_without_an_object_number_are_objects_of_their_own(tmp_path):
    table = pd.DataFrame(
        {
            "sample_id": ["a", "b", "c", "d"],
            "image_id": [1, 1, 1, 2],
            "expression": "x",
            "text": "x",
            "split": "train",
            "ref_id": pd.array([7, 7, None, None], dtype="Int64"),
        }
    )
    table.to_parquet(tmp_path / "pairs.parquet")
    groups = grouped_pairs(tmp_path / "pairs.parquet")["group"].tolist()
    assert groups[0] == groups[1] and len(set(groups)) == 3


def test_a_batch_holds_each_image_once_with_its_proposals(tmp_path):
    for number in (1, 2):
        Image.new("RGB", (32, 16), (40 * number, 0, 0)).save(tmp_path / f"{number}.png")
    images = pd.DataFrame({"image_id": [1, 2], "path": ["1.png", "2.png"], "width": 32, "height": 16})
    masks = np.zeros((2, 3, 8, 8), bool)
    masks[0, 0, :4] = masks[1, 0, 4:] = masks[1, 1, :, :2] = True
    extract(
        [1, 2], lambda ids: {"masks": pack_bits(masks[[i - 1 for i in ids]])}, scratch=tmp_path / "scratch",
        out=tmp_path / "proposals", meta={}, batch_size=2,
    )  # fmt: skip
    table = pd.DataFrame({"image_id": [2, 1, 2], "text": ["red star", "star", "left star"], "group": [0, 1, 2]})
    cues = {"red star": ["star", "red star"], "star": ["star", "star"], "left star": ["star", "left star"]}
    reader = MapReader(
        table, images, image_root=tmp_path, reading=Reading(32, VOCABULARY, 4), device=torch.device("cpu"),
        cues=cues, proposals=tmp_path / "proposals",
    )  # fmt: skip
    batch = reader.batch([0, 1, 2], epoch=3)
    assert batch.squares.shape == (2, 3, 32, 32) and batch.image_of.tolist() == [0, 1, 0]
    assert batch.epoch == 3 and batch.group_of.tolist() == [0, 1, 2] and batch.cues.shape == (3, 2, 4)
    assert torch.equal(batch.proposals, torch.from_numpy(masks[[1, 0]]))
    assert batch.cues[0, 1].tolist() == batch.tokens[0].tolist()
