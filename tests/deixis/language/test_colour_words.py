"""Colour and size words of phrases, and what they are said of."""

import pytest

from deixis.imaging.colour_names import COLOURS
from deixis.language.colour_words import COLOUR_OF, parse_colour_words
from deixis.language.size_words import parse_size_words


@pytest.mark.parametrize(
    ("text", "head", "expected"),
    [
        ("dog", "dog", []),
        ("the red bus", "red bus", [("red", "whole")]),
        ("red and white bus", "red and white bus", [("red", "whole"), ("white", "whole")]),
        ("gray cat", "gray cat", [("grey", "whole")]),
        ("teal couch", "teal couch", [("green", "whole")]),
        ("man in red", "man", [("red", "clothes")]),
        ("woman with the white bag", "woman", [("white", "clothes")]),
        ("man with a white cap", "man", [("white", "head")]),
        ("guy in a long sleeve blue shirt", "guy", [("blue", "trunk")]),
        ("boy in black and white striped shirt", "boy", [("black", "trunk"), ("white", "trunk")]),
        ("player in blue shirt and white pants", "player", [("blue", "trunk"), ("white", "legs")]),
        ("kid in brown shoes", "kid", [("brown", "feet")]),
        # a garment of somebody else's, or of another colour
        ("brown dog with a hat", "brown dog", [("brown", "whole")]),
        ("orange cat on a tie", "orange cat", [("orange", "whole")]),
        ("red bus near man in hat", "red bus", [("red", "whole")]),
        ("black horse under a woman in a yellow jacket", "black horse", [("black", "whole"), ("yellow", "trunk")]),
    ],
)
def test_colours_and_the_part_that_has_them(text, head, expected):
    assert [(COLOURS[number], part) for number, part in parse_colour_words(text, head)] == expected


def test_every_colour_word_is_one_of_those_that_pixels_have():
    assert set(COLOUR_OF.values()) == set(COLOURS)


@pytest.mark.parametrize(
    ("head", "size"),
    [("dog", 0), ("big dog", 1), ("tallest man", 1), ("little dog", -1), ("baby elephant", -1), ("boy", -1),
     ("tiny little cup", -1), ("huge big bus", 1), ("big baby", 0), ("", 0), ("bigfoot", 0)],
)  # fmt: skip
def test_words_of_size(head, size):
    assert parse_size_words(head) == size
