"""The colour words of a phrase, and the part of the thing, or of the person, that each is said of."""

from itertools import takewhile

from deixis.imaging.colour_names import COLOURS, Part

OTHER_WORDS = {  # for the basic ones
    "gray": "grey", "silver": "grey", "violet": "purple", "lavender": "purple", "tan": "brown", "beige": "brown",
    "teal": "green", "navy": "blue", "turquoise": "blue", "maroon": "red", "gold": "yellow", "golden": "yellow",
    "blonde": "yellow", "blond": "yellow", "cream": "white", "magenta": "pink",
}  # fmt: skip
COLOUR_OF = {name: name for name in COLOURS} | OTHER_WORDS
WORN: dict[Part, str] = {
    "head": "hat cap helmet hair beanie hood head headband sunglasses glasses beard face mask",
    "trunk": "shirt tshirt top jacket coat sweater hoodie vest blouse suit jersey uniform outfit dress tie apron",
    "legs": "pants shorts jeans skirt trousers bottoms leggings",
    "feet": "shoes boots sneakers socks skates",
}
PART_OF: dict[str, Part] = {word: part for part, words in WORN.items() for word in words.split()}
END_OF_THING = frozenset(  # what follows says of another thing: "brown dog with a hat"
    "a an the his her its in on with at near by under behind beside wearing holding".split()
)
REACH = 4  # words after a colour among which the garment may be: "black and white striped shirt"


def parse_colour_words(text: str, head: str) -> tuple[tuple[int, Part], ...]:
    """Numbers of the colours in `COLOURS`, each with the part it is said of.

    A colour before a garment is the garment's; another one in the head phrase is the thing's; any other, as in "man in
    red" or "woman with the white bag", is looked for where clothes are.

    Args:
        text: A normalised phrase (`deixis.language.text.normalise`).
        head: The words that name its thing: "yellow school bus" of "yellow school bus near the tree".
    """
    words, own = text.split(), head.split()
    found: list[tuple[int, Part]] = []
    for place, word in enumerate(words):
        if word in COLOUR_OF:
            described = takewhile(lambda w: w not in END_OF_THING, words[place + 1 : place + 1 + REACH])
            garment = next((w for w in described if w in PART_OF), None)
            part = PART_OF[garment] if garment else "whole" if word in own else "clothes"
            found.append((COLOURS.index(COLOUR_OF[word]), part))
    return tuple(found)
