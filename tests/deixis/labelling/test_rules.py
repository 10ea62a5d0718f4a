"""Which candidate becomes the label, and which labels are accepted."""

import numpy as np
import pandas as pd
import pytest
import torch

from deixis.labelling.matching import Matched
from deixis.labelling.rules import LabelParams, chances, choose_labels, least_sure, refuse, without_unknown

BOXES = torch.tensor([[0.0, 0, 10, 10], [20.0, 0, 30, 10], [40.0, 0, 50, 10]])
SCORES = torch.tensor([[3.0, 1.0, 0.0], [2.0, 1.9, 0.0], [0.0, 1.0, 5.0]])


def labels(size: tuple[int, int] = (60, 60), **rules) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "sample_id": ["a", "b", "c"],
            "image_id": [1, 1, 1],
            "group": [0, 1, 2],
            "expression": ["one", "two", "three"],
            "split": ["train", "train", "val"],
        }
    )
    matched = Matched(
        boxes=BOXES.expand(3, 3, 4), scores=SCORES, classes=torch.ones(3, 3, 2), objectness=torch.ones(3, 3),
        experts=[[]] * 3, masks=None, sizes_wh=torch.tensor([size] * 3),
    )  # fmt: skip
    return choose_labels(matched, SCORES, table, LabelParams(**rules))


def test_every_label_is_accepted_by_default():
    table = labels()
    assert table["accept"].all()
    assert table["box"].tolist() == [BOXES[0].tolist(), BOXES[0].tolist(), BOXES[2].tolist()]
    assert table["runner_up"].tolist() == [BOXES[1].tolist()] * 3
    assert table["margin"].tolist() == pytest.approx([2.0, 0.1, 4.0])
    assert "supervision" not in table


def test_distinct_objects_get_distinct_boxes_and_the_labels_say_so():
    table = labels(same_image="distinct")
    assert table["box"].tolist() == BOXES.tolist()
    assert table["accept"].all() and table["margin"].tolist() == pytest.approx([2.0, -0.1, 4.0])
    assert set(table["supervision"]) == {"image-phrase pairs, grouped by object"}


def test_the_least_sure_are_refused_unless_there_is_a_stronger_reason():
    margins = pd.Series([2.0, 0.1, 0.1, 4.0])
    assert least_sure(margins, 1.0).tolist() == [False] * 4
    assert least_sure(margins, 0.5).tolist() == [False, True, True, False]
    assert least_sure(margins, 0.75).tolist() == [False, True, False, False]  # of equal ones the first
    table = refuse(labels().assign(reason=["size", "place", "words"]), np.array([True, True, True]))
    assert table["reason"].tolist() == ["coverage", "place", "words"] and not table["accept"].any()


def test_labels_without_margin_are_refused_where_one_is_asked_for():
    assert labels(min_margin=0.5)["reason"].tolist() == ["", "margin", ""]


def test_a_box_whose_centre_lies_beside_its_image_is_no_label():
    """Where an image is thin, most cells of its square lie in the padding."""
    assert labels(size=(45, 4))["reason"].tolist() == ["outside"] * 3
    assert labels(size=(44, 5))["reason"].tolist() == ["", "", "outside"]
    assert not labels(size=(44, 5))["accept"].iloc[2]


def test_candidates_of_one_thing_share_their_chance_and_the_line_brings_it_to_the_right_scale():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0.0, 0, 10, 9], [20.0, 0, 30, 10]]])
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    plain = chances(scores, boxes, boxes[:, 0], (1.0, 0.0))
    assert plain.tolist() == pytest.approx([0.8])
    moved = chances(scores, boxes, boxes[:, 0], (2.0, 1.0))
    assert moved.tolist() == pytest.approx([1 / (1 + np.exp(-(2 * np.log(4) + 1)))])
    assert "confidence" not in labels()


def test_no_label_is_accepted_whose_phrase_says_nothing_to_the_teacher():
    table = without_unknown(labels().assign(confidence=0.9), [True, False, True])
    assert table["reason"].tolist() == ["", "words", ""]
    assert table["accept"].tolist() == [True, False, True]
    assert table["confidence"].tolist() == [0.9, 0.0, 0.9]
