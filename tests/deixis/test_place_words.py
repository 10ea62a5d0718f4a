import pytest

from deixis.place_words import PlaceWords, parse_place_words

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
    ],
)
def test_ordinals(text, expected):
    assert parse_place_words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("man left of the bus", PlaceWords("man", direction=LEFT, landmark="bus")),
        ("the ball that is to the right of the red box", PlaceWords("ball", direction=RIGHT, landmark="red box")),
        ("the cross higher than the blue moon", PlaceWords("cross", direction=UP, landmark="blue moon")),
        ("star underneath the ring", PlaceWords("star", direction=DOWN, landmark="ring")),
        ("cat on top of the car", PlaceWords("cat", direction=UP, landmark="car")),
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
        "",
    ],
)
def test_what_is_no_place_stays(text):
    found = parse_place_words(text)
    assert found.is_empty
    assert found.rest == text


def test_the_side_of_a_picture_is_no_landmark():
    assert parse_place_words("boy to the left of the picture") == PlaceWords("boy", direction=LEFT)
