import pytest

from deixis.language.location_words import LocationWords, parse_location_words

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
    assert parse_location_words(text) == LocationWords(rest, direction=direction)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("man in the middle", LocationWords("man", is_middle=True)),
        ("center pizza", LocationWords("pizza", is_middle=True)),
        ("middle row left", LocationWords("row", direction=LEFT, is_middle=True)),
        ("dog in front", LocationWords("dog", depth=1)),
        ("closest sheep", LocationWords("sheep", depth=1)),
        ("person in the background", LocationWords("person", depth=-1)),
        ("back left chair", LocationWords("chair", direction=LEFT, depth=-1)),
        ("man closest to the camera", LocationWords("man", depth=1)),
        ("lady closest to us", LocationWords("lady", depth=1)),
        ("horse furthest away", LocationWords("horse", depth=-1)),
        ("right in the middle", LocationWords("", is_middle=True)),
        ("right up front", LocationWords("", depth=1)),
        ("middle of three", LocationWords("", is_middle=True)),
        ("not the middle one", LocationWords("one")),
        ("dog not in front", LocationWords("dog", depth=-1)),
    ],
)
def test_middle_front_and_back(text, expected):
    assert parse_location_words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("second from left", LocationWords("", direction=LEFT, rank=2)),
        ("third player from the right", LocationWords("player", direction=RIGHT, rank=3)),
        ("the 2nd bus from the left of the picture", LocationWords("bus", direction=LEFT, rank=2)),
        ("second from back", LocationWords("", depth=-1, rank=2)),
        ("third star on the right", LocationWords("star", direction=RIGHT, rank=3)),
        ("second on left", LocationWords("", direction=LEFT, rank=2)),
        ("seventh from left", LocationWords("", direction=LEFT, rank=7)),
        ("two from the left", LocationWords("", direction=LEFT, rank=2)),
        ("ball not second from the left", LocationWords("ball")),
    ],
)
def test_ordinals(text, expected):
    assert parse_location_words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("man left of the bus", LocationWords("man", bearing=LEFT, landmark="bus")),
        ("the ball that is to the right of the red box", LocationWords("ball", bearing=RIGHT, landmark="red box")),
        ("the cross higher than the blue moon", LocationWords("cross", bearing=UP, landmark="blue moon")),
        ("star underneath the ring", LocationWords("star", bearing=DOWN, landmark="ring")),
        ("cat on top of the car", LocationWords("cat", bearing=UP, landmark="car")),
        ("to the left of the bus", LocationWords("", bearing=LEFT, landmark="bus")),
        ("next to the right most chair", LocationWords("", landmark="right most chair")),
        ("man not next to the car", LocationWords("man")),
        ("left star next to the box", LocationWords("star", direction=LEFT, landmark="box")),
        (
            "second star from the left above the box",
            LocationWords("star", direction=LEFT, rank=2, bearing=UP, landmark="box"),
        ),
        ("man in the left of the picture next to the car", LocationWords("man", direction=LEFT, landmark="car")),
        ("cat left of the picture on the wall", LocationWords("cat", bearing=LEFT, landmark="picture on the wall")),
        ("person next to the tree", LocationWords("person", landmark="tree")),
        ("girl right next to the dog", LocationWords("girl", landmark="dog")),
    ],
)
def test_relations_name_a_landmark(text, expected):
    assert parse_location_words(text) == expected


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
        "woman in dark shorts and pink top",
        "boy in jeans and a striped top",
        "suv with a spare tire on the back",
        "bus with a rack on the front",
        "white train with an orange front",
        "man with a white cap back turned",
        "white oven with a black top",
        "sheep turned sideways in front",
        "pile of carrot strips on top",
        "slices of cheese on top",
        "white jet over the water",
        "kite above the lake",
        "",
    ],
)
def test_what_is_no_place_stays(text):
    words = parse_location_words(text)
    assert words.is_empty
    assert words.rest == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("woman in a black top on the right", LocationWords("woman in a black top", direction=RIGHT)),
        ("train with a red front on the left", LocationWords("train with a red front", direction=LEFT)),
        ("cow with its back turned on the left", LocationWords("cow with its back turned", direction=LEFT)),
        ("girl in the back wearing a pink top", LocationWords("girl wearing a pink top", depth=-1)),
        ("kid in a jacket and jeans in front", LocationWords("kid in a jacket and jeans", depth=1)),
        ("truck with a ladder in the back", LocationWords("truck with a ladder", depth=-1)),
        ("cat with a collar at the front", LocationWords("cat with a collar", depth=1)),
        ("umbrella with stripes at the top", LocationWords("umbrella with stripes", direction=UP)),
        ("man with a hat bottom left", LocationWords("man with a hat", direction=(-1, 1))),
        ("woman in red and hat top left", LocationWords("woman in red and hat", direction=(-1, -1))),
        ("person with umbrella on the top right", LocationWords("person with umbrella", direction=(1, -1))),
        ("man with dog on the front right", LocationWords("man with dog", direction=RIGHT, depth=1)),
        ("kid with a cap on the back row", LocationWords("kid with a cap", depth=-1)),
        ("pile of books on top left", LocationWords("pile of books", direction=(-1, -1))),
        ("pieces of fruit on top of the bowl", LocationWords("pieces of fruit", bearing=UP, landmark="bowl")),
        (
            "oven with a black top left of the sink",
            LocationWords("oven with a black top", bearing=LEFT, landmark="sink"),
        ),
        ("the boat on top", LocationWords("boat", direction=UP)),
        ("bird over the water on the left", LocationWords("bird over the water", direction=LEFT)),
        ("lamp over the table", LocationWords("lamp", bearing=UP, landmark="table")),
        ("bird under the umbrella", LocationWords("bird", bearing=DOWN, landmark="umbrella")),
        ("front bus", LocationWords("bus", depth=1)),
        ("white car at the back", LocationWords("white car", depth=-1)),
        ("third sheep from the front", LocationWords("sheep", depth=1, rank=3)),
    ],
)
def test_true_places_beside_words_that_only_look_like_some(text, expected):
    assert parse_location_words(text) == expected


def test_the_side_of_an_image_is_no_landmark():
    assert parse_location_words("boy to the left of the picture") == LocationWords("boy", direction=LEFT)
