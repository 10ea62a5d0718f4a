"""Votes on categories: who votes, with what weight, and what stays as it was."""

import torch

from models.detectors.category_votes import VOTERS, with_voted_categories

STAR, RING = (0.9, 0.1), (0.2, 0.8)


def box(cx: float, size: float, objectness: float, classes: tuple[float, float]) -> list[float]:
    return [cx, 10.0, size, size, objectness, *classes]


def rows(*boxes: list[float]) -> torch.Tensor:
    """One image with one box in each cell."""
    return torch.tensor(boxes)[None, :, None]


def test_boxes_round_the_same_thing_vote_with_their_objectness():
    unsure, sure = box(10, 10, 0.2, STAR), box(10.5, 10, 0.6, RING)
    voted = with_voted_categories(rows(unsure), rows(unsure, sure, box(30, 10, 1.0, STAR)))
    expected = (0.2 * torch.tensor(STAR) + 0.6 * torch.tensor(RING)) / 0.8
    torch.testing.assert_close(voted[0, 0, 0, 5:], expected)


def test_place_and_objectness_stay():
    boxes = rows(box(10, 10, 0.2, STAR), box(30, 8, 0.4, RING))
    voted = with_voted_categories(boxes, rows(box(10, 10, 0.9, RING), box(30, 8, 0.9, STAR)))
    assert torch.equal(voted[..., :5], boxes[..., :5])
    assert voted[0, :, 0, 5:].argmax(-1).tolist() == [1, 0]


def test_a_box_that_no_voter_covers_keeps_its_category():
    boxes = rows(box(10, 10, 0.2, STAR), box(50, 0, 0.2, STAR))  # the second has no area
    assert torch.equal(with_voted_categories(boxes, rows(box(40, 10, 0.9, RING))), boxes)


def test_voters_without_objectness_do_not_vote():
    boxes = rows(box(10, 10, 0.2, STAR))
    assert torch.equal(with_voted_categories(boxes, rows(box(10, 10, 0.0, RING))), boxes)


def test_the_most_confident_of_an_image_vote():
    many = [box(10, 10, 0.5, STAR)] * VOTERS
    voted = with_voted_categories(rows(box(10, 10, 0.2, RING)), rows(*[box(10, 10, 0.1, RING)] * 10, *many))
    torch.testing.assert_close(voted[0, 0, 0, 5:], torch.tensor(STAR))


def test_images_do_not_vote_for_each_other():
    boxes = torch.cat([rows(box(10, 10, 0.2, STAR)), rows(box(10, 10, 0.2, RING))])
    voters = torch.cat([rows(box(10, 10, 0.9, RING)), rows(box(10, 10, 0.9, STAR))])
    assert with_voted_categories(boxes, voters)[:, 0, 0, 5:].argmax(-1).tolist() == [1, 0]
