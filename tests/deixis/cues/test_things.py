"""What a phrase means, and what else it names."""

import pytest

from deixis.cues.things import read_things


@pytest.mark.parametrize(
    ("text", "noun", "head", "others"),
    [
        ("cat", "cat", "cat", ()),
        ("brown dog on the sofa", "dog", "brown dog", ("sofa",)),
        ("the yellow school bus near the tree", "bus", "yellow school bus", ("tree",)),
        ("a hot dog with mustard", "dog", "hot dog", ("mustard",)),
        ("laptop on the desk beside the mouse", "laptop", "laptop", ("desk", "mouse")),
        ("woman sitting on the red sofa", "woman", "woman", ("red sofa",)),
        ("man holding a tennis racket", "man", "man", ("tennis racket",)),
        ("girl eating a donut", "girl", "girl", ("donut",)),
        ("kid that is holding the kite", "kid", "kid", ("kite",)),
        ("lady talking on her phone", "lady", "lady", ("phone",)),
        ("woman in the red dress holding an umbrella", "woman", "woman", ("red dress", "umbrella")),
        ("bowl with broccoli and carrots", "bowl", "bowl", ("broccoli and carrots",)),
        # the noun stands before what is said of it
        ("player dressed in red", "player", "player", ()),
        ("dog asleep on the couch", "dog", "dog", ("couch",)),
        ("bike parked against the wall", "bike", "bike", ("wall",)),
        # measures mean what they hold, vessels do not
        ("slice of cake", "cake", "cake", ()),
        ("the bunch of bananas", "bananas", "bananas", ()),
        ("pair of scissors on the table", "scissors", "scissors", ("table",)),
        ("glass of water", "glass", "glass", ()),
        ("a cup of coffee near the plate", "cup", "cup", ("plate",)),
        # a colour that is worn is no thing, and no fruit
        ("man in orange", "man", "man", ()),
        ("woman wearing black and white", "woman", "woman", ("black and white",)),
        ("apple beside the orange", "apple", "apple", ("orange",)),
        # what has no name
        ("the object next to the cup", "object", "object", ("cup",)),
        ("zebra next to the other one", "zebra", "zebra", ()),
        ("wearing red", "object", "object", ()),
        ("holding a kite", "object", "object", ("kite",)),
        ("left of the bus", "object", "object", ()),
        ("", "object", "object", ()),
    ],
)
def test_noun_head_and_other_things(text, noun, head, others):
    things = read_things(text)
    assert (things.noun, things.head, things.others) == (noun, head, others)


@pytest.mark.parametrize(
    ("text", "is_named"),
    [("the pink one", False), ("another one", False), ("thing in red", False), ("", False),
     ("other zebra", True), ("red thing holder", True)],
)  # fmt: skip
def test_a_kind_is_named_or_not(text, is_named):
    assert read_things(text).is_named == is_named
