"""TRIS's calibration terms and map selection (ICCV 2023) at known values."""

import pytest
import torch

from models.map_blocks.calibration import draw_negatives, masked_images, negative_term, positive_term, select_maps


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


def words(*ids: int) -> torch.Tensor:
    """Phrases of one word each."""
    return torch.tensor(ids)[:, None]


def test_negatives_are_about_other_objects_of_the_image_where_there_are_some():
    drawn, exists = draw_negatives(words(1, 2, 3, 4), torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 2]), count=50)
    assert set(drawn[0].tolist()) == {2} and set(drawn[2].tolist()) == {0, 1}
    assert set(drawn[3].tolist()) == {0, 1, 2}  # alone in its image
    assert exists.all()


def test_no_negative_reads_the_same_and_a_phrase_without_any_has_no_term():
    image_of, group_of = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 3])
    drawn, exists = draw_negatives(words(1, 1, 2, 2), image_of, group_of, count=50)
    assert [set(row) for row in drawn.tolist()] == [{2}, {2}, {0, 1}, {0, 1}] and exists.all()
    drawn, exists = draw_negatives(words(1, 1, 2), torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]), count=50)
    assert set(drawn[0].tolist()) == {2} and exists.all()  # all of its image read the same: of the other image
    assert not draw_negatives(words(1, 1), torch.tensor([0, 1]), torch.tensor([0, 1]), count=2).exists.any()
    assert not draw_negatives(words(1), torch.tensor([0]), torch.tensor([0]), count=2).exists.any()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_no_negatives_at_all_cost_nothing(reduction):
    nothing = torch.zeros(0, 3, requires_grad=True)
    term = negative_term(nothing, reduction=reduction)
    term.backward()
    assert float(term.detach()) == 0.0


def test_what_a_map_leaves_out_turns_into_the_mean_colour():
    squares = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    maps = torch.tensor([[[30.0, -30.0]]]).expand(1, 2, 2)
    masked = masked_images(maps, squares, torch.tensor([0]))
    assert masked[0, :, :, 0].min() > 254 and masked[0, :, :, -1].max() < 0.5 * 255
