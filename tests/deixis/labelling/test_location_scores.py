"""Location scores on boxes laid out by hand, and the weight they get."""

import pytest
import torch

from deixis.labelling.location_scores import choose_location_weight, location_scores, look_scores, named_kinds
from deixis.labelling.named_kinds import sum_kinds
from deixis.language.location_words import parse_location_words


def square(x: float, y: float, half: float = 0.05) -> list[float]:
    return [x - half, y - half, x + half, y + half]


CROSS = [square(0.1, 0.5), square(0.5, 0.1), square(0.5, 0.5), square(0.5, 0.9), square(0.9, 0.5)]  # l, t, m, b, r
ROW = [square(x, 0.5) for x in (0.7, 0.1, 0.9, 0.3, 0.5)]


def looks_of(match: torch.Tensor, objectness: torch.Tensor, classes: torch.Tensor, texts: list[str]) -> torch.Tensor:
    return look_scores(match, objectness, classes, sum_kinds(named_kinds(match, classes), texts).means(texts))


def best(text: str, boxes: list[list[float]], *, match=None, landmark=None) -> int:
    flat = torch.zeros(len(boxes))
    scores = location_scores(
        [parse_location_words(text)],
        torch.tensor([boxes]),
        (flat if match is None else torch.tensor(match))[None],
        (flat if landmark is None else torch.tensor(landmark))[None],
    )
    return int(scores.argmax())


@pytest.mark.parametrize(
    ("text", "place"),
    [("left star", 0), ("star at the top", 1), ("star in the middle", 2), ("lowest star", 3), ("rightmost star", 4)],
)
def test_sides_and_middle(text, place):
    assert best(text, CROSS) == place


def test_corners_are_both_of_their_sides():
    boxes = [square(0.1, 0.1), square(0.9, 0.1), square(0.1, 0.9), square(0.9, 0.9)]
    assert [best(f"{side} star", boxes) for side in ("top left", "top right", "bottom left", "bottom right")] == [
        0, 1, 2, 3,
    ]  # fmt: skip


def test_in_front_is_large_and_low():
    boxes = [square(0.5, 0.3), square(0.5, 0.7, 0.2), square(0.5, 0.7)]
    assert best("dog in front", boxes) == 1
    assert best("dog in the back", boxes) == 0


@pytest.mark.parametrize(
    ("text", "place"), [("first star from left", 1), ("second star from left", 3), ("second star from the right", 0)]
)
def test_ordinals_count_along_a_direction(text, place):
    assert best(text, ROW) == place


def test_what_does_not_look_like_it_is_not_counted():
    match = [10.0, -10.0, 10.0, 10.0, 10.0]  # the leftmost box is no star
    assert best("second star from left", ROW, match=match) == 4


def test_several_boxes_of_one_thing_count_once():
    twice = [*ROW, square(0.1, 0.51), square(0.1, 0.49)]
    assert best("second star from left", twice) == 3


@pytest.mark.parametrize(
    ("text", "place"),
    [("star left of the box", 0), ("star right of the box", 4), ("star above the box", 1), ("star below the box", 3)],
)
def test_relations_count_from_the_landmark(text, place):
    assert best(text, CROSS, landmark=[-9.0, -9.0, 9.0, -9.0, -9.0]) == place


def test_next_to_the_landmark_and_not_the_landmark_itself():
    assert best("star next to the box", ROW, landmark=[-9.0, 9.0, -9.0, -9.0, -9.0]) == 3


@pytest.mark.parametrize(("text", "place"), [("left star next to the box", 1), ("right star next to the box", 4)])
def test_a_side_chooses_among_those_next_to_the_landmark(text, place):
    boxes = [square(x, 0.5) for x in (0.05, 0.4, 0.95, 0.5, 0.6)]  # the box in the middle
    assert best(text, boxes, landmark=[-9.0, -9.0, -9.0, 9.0, -9.0]) == place


def test_without_location_words_nothing_counts():
    boxes = torch.tensor([CROSS, CROSS])
    words = [parse_location_words(text) for text in ("red star", "left star")]
    scores = location_scores(words, boxes, torch.zeros(2, 5), torch.zeros(2, 5))
    assert not scores[0].any() and scores[1].any()


def test_candidates_of_the_named_kind_look_more_plausible_than_better_matches_of_another():
    match = torch.tensor([[3.0, 2.9, 0.0, 1.0]])
    classes = torch.tensor([[[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]])
    looks = looks_of(match, torch.full((1, 4), 0.8), classes, ["star"])
    assert looks[0, 0] == 0 and (looks <= 0).all()
    assert looks[0, 2] > looks[0, 3]


def test_an_unsure_object_looks_less_plausible():
    classes = torch.full((1, 2, 3), 0.3)
    looks = looks_of(torch.tensor([[1.0, 1.0]]), torch.tensor([[0.9, 0.1]]), classes, ["star"])
    assert looks[0, 0] > looks[0, 1]


def test_the_weight_separates_opposites_and_keeps_to_the_kind():
    boxes = torch.tensor([[square(0.3, 0.5), square(0.7, 0.5), square(0.95, 0.5)]])
    place = boxes[..., 0] - 0.5
    looks = torch.tensor([[-0.6, 0.0, -4.0]])  # two stars, and something else at the far right
    weight, separation = choose_location_weight(looks, place, boxes)
    assert separation[0.0] == 0
    for sign, star in ((-1, 0), (1, 1)):
        assert int((looks + sign * weight * place).argmax()) == star


def test_place_that_never_separates_gets_no_weight():
    boxes = torch.tensor([[square(0.5, 0.5), square(0.5, 0.51)]])
    weight, _ = choose_location_weight(torch.zeros(1, 2), torch.tensor([[0.1, -0.1]]), boxes)
    assert weight == 0


def test_what_a_phrase_names_is_learned_from_all_that_read_the_same():
    match = torch.tensor([*[[2.0, 0.0]] * 8, [1.0, 1.2]])  # the last phrase, alone, would take the wrong kind
    classes = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).expand(9, 2, 2)
    objectness = torch.full((9, 2), 0.8)
    assert looks_of(match, objectness, classes, [*["star"] * 8, "box"])[-1].argmax() == 1
    assert looks_of(match, objectness, classes, ["star"] * 9)[-1].argmax() == 0
