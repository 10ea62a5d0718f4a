"""TRIS's calibration terms and map selection against the fact sheet's vectors."""

import pytest
import torch

from models.blocks.calibration import negative_term, positive_term, select_maps


@pytest.mark.parametrize(("cosine", "expected"), [(0.25, 1.386294), (0.0, 9.210340), (-0.1, 9.210340)])
def test_5_positive_term(cosine, expected):
    assert float(positive_term(torch.tensor([cosine]))) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("reduction", "weight", "others", "expected"),
    [("mean", 2.0, 3, 1.832581), ("sum", 1.0, 3, 2.055725), ("sum", 1.0, 6, 2.725156)],
    ids=["released", "paper, K = 3", "paper, K = 6"],
)
def test_6_both_terms(reduction, weight, others, expected):
    negatives = negative_term(torch.full((1, others), 0.2), reduction=reduction)
    assert float(positive_term(torch.tensor([0.25])) + weight * negatives) == pytest.approx(expected, abs=1e-4)


def test_9_the_map_that_all_phrases_recognise_is_taken():
    cosines = torch.tensor([[0.30, 0.20, 0.25], [0.28, 0.29, 0.27], [0.31, 0.18, 0.20]])
    assert select_maps(cosines, torch.zeros(3, dtype=torch.long)).tolist() == [1, 1, 1]


def test_a_phrase_alone_keeps_its_map_and_objects_do_not_mix():
    cosines = torch.tensor([[0.1, 0.9, 0.0], [0.0, 0.2, 0.0], [0.9, 0.0, 0.3]])
    assert select_maps(cosines, torch.tensor([5, 7, 5])).tolist() == [2, 1, 2]
