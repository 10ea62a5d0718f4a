"""The colours in boxes: painted rectangles have their own, whatever box is asked about has some."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from deixis.imaging.colour_names import COLOURS, PARTS, TYPICAL, cielab, colour_shares, name_colours

SIDE = 64
PAINTS = {  # the web's names, apart from ours
    "black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128), "red": (255, 0, 0),
    "orange": (255, 165, 0), "yellow": (255, 255, 0), "green": (0, 128, 0), "blue": (0, 0, 255),
    "purple": (128, 0, 128), "pink": (255, 192, 203), "brown": (139, 69, 19),
}  # fmt: skip


def painted(*rectangles, ground: str = "black") -> torch.Tensor:
    """One square with rectangles (colour, left, top, right, bottom)."""
    square = torch.empty(1, 3, SIDE, SIDE, dtype=torch.uint8)
    for colour, left, top, right, bottom in ((ground, 0, 0, SIDE, SIDE), *rectangles):
        square[0, :, top:bottom, left:right] = torch.tensor(PAINTS[colour], dtype=torch.uint8)[:, None, None]
    return square


def shares(square: torch.Tensor, *boxes, part: str = "whole") -> list[dict[str, float]]:
    """Of each box, the colours that it has."""
    found = colour_shares(square, torch.tensor(boxes).float()[None])[0, :, list(PARTS).index(part)]
    return [{COLOURS[n]: pytest.approx(x) for n, x in enumerate(row.tolist()) if x} for row in found]


@pytest.mark.parametrize("colour", PAINTS)
def test_every_basic_colour_is_called_so(colour):
    assert set(PAINTS) == set(COLOURS)
    assert COLOURS[name_colours(painted(ground=colour))[0, 5, 7]] == colour


def test_typical_colours_are_called_as_they_are_listed():
    for name, colours in TYPICAL.items():
        pixels = torch.tensor(colours, dtype=torch.uint8).T[None, :, :, None]
        assert {COLOURS[n] for n in name_colours(pixels).flatten().tolist()} == {name}


def test_cielab_is_that_of_another_library():
    grey = np.linspace(0, 1, 40)[:, None].repeat(3, 1)  # dark ones are on the line
    rgb = np.concatenate([grey, np.random.default_rng(0).random((200, 3))])
    np.testing.assert_allclose(cielab(rgb), rgb2lab(rgb), atol=1e-9)


def test_a_box_has_the_colours_inside_it():
    square = painted(("red", 10, 20, 20, 40), ("yellow", 20, 20, 30, 40))
    assert shares(square, (10, 20, 20, 40), (20, 20, 30, 40), (40, 40, 60, 60)) == [
        {"red": 1.0}, {"yellow": 1.0}, {"black": 1.0},
    ]  # fmt: skip
    # a tenth of each side is left out: what is seen is 16 x 16
    assert shares(square, (10, 20, 30, 40), (20, 10, 40, 30)) == [
        {"red": 0.5, "yellow": 0.5}, {"yellow": 0.25, "black": 0.75},
    ]  # fmt: skip


def test_parts_of_a_person_have_their_own():
    person = painted(
        ("brown", 20, 0, 40, 10), ("red", 20, 10, 40, 30), ("blue", 20, 30, 40, 55), ("white", 20, 55, 40, 60)
    )
    box = (20, 0, 40, 60)
    assert shares(person, box, part="feet")[0]["white"] == 5 / 12  # rows 48 to 60
    assert shares(person, box, part="head") == [{"brown": 10 / 18, "red": 8 / 18}]
    assert shares(person, box, part="trunk")[0]["red"] == 20 / 27  # rows 9 to 36
    assert shares(person, box, part="legs")[0]["blue"] == 25 / 30  # rows 27 to 57


def test_images_and_boxes_are_not_mixed_up():
    squares = torch.cat([painted(ground="green"), painted(("pink", 0, 0, 32, 64), ground="blue")])
    boxes = torch.tensor([[[0.0, 0, 20, 20], [40, 40, 60, 60]]] * 2)
    found = colour_shares(squares, boxes)[:, :, 0].argmax(-1)
    assert [[COLOURS[n] for n in row] for row in found.tolist()] == [["green", "green"], ["pink", "blue"]]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param((-20, 10, 20, 50), {"red": 1.0}, id="partly-left"),
        pytest.param((50, 10, 90, 50), {"blue": 1.0}, id="partly-right"),
        pytest.param((-90, 20, -50, 40), {"red": 1.0}, id="left-of-it"),
        pytest.param((80, 20, 120, 40), {"blue": 1.0}, id="right-of-it"),
        pytest.param((10, -90, 20, -50), {"red": 1.0}, id="above"),
        pytest.param((40, 90, 50, 99), {"blue": 1.0}, id="below"),
        pytest.param((-1e9, -1e9, 1e9, 1e9), {"red": 0.5, "blue": 0.5}, id="much-larger"),
        pytest.param((10, 10, 10, 10), {"red": 1.0}, id="nothing"),
        pytest.param((10, 10, 10, 50), {"red": 1.0}, id="no-width"),
        pytest.param((64, 64, 64, 64), {"blue": 1.0}, id="nothing-in-the-corner"),
        pytest.param((50, 50, 40, 40), {"blue": 1.0}, id="inside-out"),
    ],
)
def test_a_box_beyond_the_square_or_without_area_has_the_nearest_colours(box, expected):
    square = painted(("red", 0, 0, 32, 64), ground="blue")
    assert shares(square, box) == [expected]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_a_box_that_is_no_number_has_some_colour_and_spoils_no_other(wrong):
    square = painted(("red", 0, 0, 32, 64), ground="blue")
    boxes = torch.tensor([[[wrong, 0, 9, 9], [0, 0, wrong, wrong], [wrong] * 4, [40.0, 40, 60, 60]]])
    found = colour_shares(square, boxes)
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(-1), torch.ones(1, 4, len(PARTS)))
    assert found[0, 3, :, COLOURS.index("blue")].eq(1).all()


def test_no_box_has_no_colour():
    assert colour_shares(painted(), torch.zeros(1, 0, 4)).shape == (1, 0, len(PARTS), len(COLOURS))
