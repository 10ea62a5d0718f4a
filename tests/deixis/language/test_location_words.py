import pytest

from deixis.language.location_words import PlaceWords, parse_place_words

LEFT, RIGHT, UP, DOWN = (-1, 0), (1, 0), (0, -1), (0, 1)


@pytest.mark.parametrize(
    ("text", "rest", "direction"),
    [
        ("left guy", "guy", LEFT),
        ("leftmost ball", "ball", LEFT),
        ("man on the right", "man", RIGHT),
        ("ball at the far left", "ball", LEFT),
        ("star highest up", "star", UP),
        ("the lower box", "box", DOWN),
        ("bottom left corner", "", (-1, 1)),
        ("red car in the top right corner of the picture", "red car", (1, -1)),
        ("guy far right in red", "guy in red", RIGHT),
        ("woman to the left", "woman", LEFT),
        ("left", "", LEFT),
        ("elephant on our right side", "elephant", RIGHT),
        ("zebra on the left hand side", "zebra", LEFT),
        ("the man who is on the left", "man", LEFT),
        ("left side of the screen", "", LEFT),
        ("lower right hand corner", "", (1, 1)),
        ("left hand guy", "guy", LEFT),
        ("man over on the left", "man", LEFT),
        ("elephant near the left", "elephant", LEFT),
        ("closest to the left", "", LEFT),
        ("farthest to the right", "", RIGHT),
        ("not the left one", "one", RIGHT),
        ("the one not at the top", "one", DOWN),
    ],
)
def test_sides_and_corners(text, rest, direction):
    assert parse_place_words(text) == PlaceWords(rest, direction=direction)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("man in the middle", PlaceWords("man", is_middle=True)),
        ("center pizza", PlaceWords("pizza", is_middle=True)),
        ("middle row left", PlaceWords("row", direction=LEFT, is_middle=True)),
        ("dog in front", PlaceWords("dog", depth=1)),
        ("closest sheep", PlaceWords("sheep", depth=1)),
        ("person in the background", PlaceWords("person", depth=-1)),
        ("back left chair", PlaceWords("chair", direction=LEFT, depth=-1)),
        ("man closest to the camera", PlaceWords("man", depth=1)),
        ("lady closest to us", PlaceWords("lady", depth=1)),
        ("horse furthest away", PlaceWords("horse", depth=-1)),
        ("right in the middle", PlaceWords("", is_middle=True)),
        ("right up front", PlaceWords("", depth=1)),
        ("middle of three", PlaceWords("", is_middle=True)),
        ("not the middle one", PlaceWords("one")),
        ("dog not in front", PlaceWords("dog", depth=-1)),
    ],
)
def test_middle_front_and_back(text, expected):
    assert parse_place_words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("second from left", PlaceWords("", direction=LEFT, rank=2)),
        ("third player from the right", PlaceWords("player", direction=RIGHT, rank=3)),
        ("the 2nd bus from the left of the picture", PlaceWords("bus", direction=LEFT, rank=2)),
        ("second from back", PlaceWords("", depth=-1, rank=2)),
        ("third star on the right", PlaceWords("star", direction=RIGHT, rank=3)),
        ("second on left", PlaceWords("", direction=LEFT, rank=2)),
        ("seventh from left", PlaceWords("", direction=LEFT, rank=7)),
        ("two from the left", PlaceWords("", direction=LEFT, rank=2)),
        ("ball not second from the left", PlaceWords("ball")),
    ],
)
def test_ordinals(text, expected):
    assert parse_place_words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("man left of the bus", PlaceWords("man", bearing=LEFT, landmark="bus")),
        ("the ball that is to the right of the red box", PlaceWords("ball", bearing=RIGHT, landmark="red box")),
        ("the cross higher than the blue moon", PlaceWords("cross", bearing=UP, landmark="blue moon")),
        ("star underneath the ring", PlaceWords("star", bearing=DOWN, landmark="ring")),
        ("cat on top of the car", PlaceWords("cat", bearing=UP, landmark="car")),
        ("to the left of the bus", PlaceWords("", bearing=LEFT, landmark="bus")),
        ("next to the right most chair", PlaceWords("", landmark="right most chair")),
        ("man not next to the car", PlaceWords("man")),
        ("left star next to the box", PlaceWords("star", direction=LEFT, landmark="box")),
        (
            "second star from the left above the box",
            PlaceWords("star", direction=LEFT, rank=2, bearing=UP, landmark="box"),
        ),
        ("man in the left of the picture next to the car", PlaceWords("man", direction=LEFT, landmark="car")),
        ("cat left of the picture on the wall", PlaceWords("cat", bearing=LEFT, landmark="picture on the wall")),
        ("person next to the tree", PlaceWords("person", landmark="tree")),
        ("girl right next to the dog", PlaceWords("girl", landmark="dog")),
    ],
)
def test_relations_name_a_landmark(text, expected):
    assert parse_place_words(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "red ball",
        "man holding his left arm",
        "girl in a pink top",
        "woman wearing a white top",
        "middle aged man",
        "man with back to camera",
        "dog facing left",
        "man in top hat",
        "left hand of man",
        "man with left hand raised",
        "man over there",
        "lady holding umbrella over her head",
        "",
    ],
)
def test_what_is_no_place_stays(text):
    found = parse_place_words(text)
    assert found.is_empty
    assert found.rest == text


def test_the_side_of_a_picture_is_no_landmark():
    assert parse_place_words("boy to the left of the picture") == PlaceWords("boy", direction=LEFT)
