"""The things that a phrase names: the one it means, and those it stands beside."""

import re
from dataclasses import dataclass

from deixis.cues.rule import NO_NOUN, rule_cues
from deixis.cues.word_classes import COPULAS, DETERMINERS, PREPOSITIONS, RELATIVISERS
from deixis.language.colour_words import COLOUR_OF

# "slice of cake" means a cake, but "glass of water" a glass
MEASURE = re.compile(r"^(?:slice|piece|bunch|pile|group|pair|row|couple|stack|lot|kind|type)s? of ")
AFTER_A_NOUN = frozenset(  # adjectives, participles and adverbs that stand there and are no nouns
    "asleep awake alone away apart seen shown cut bent torn worn just right directly up down out dressed parked".split()
)
NAMELESS = frozenset(("one", "ones", "object", "thing", "other", "another", "away", NO_NOUN))  # say nothing of a kind
NOT_A_THING = PREPOSITIONS | RELATIVISERS | COPULAS | DETERMINERS | AFTER_A_NOUN | {"and", "next", "to", "front"}


@dataclass(frozen=True)
class Things:
    """What a phrase is about.

    Attributes:
        noun: Of the thing that it means: "dog" of "brown dog on the sofa".
        head: That thing with its own adjectives: "brown dog".
        others: Other things that it names: "sofa".
    """

    noun: str
    head: str
    others: tuple[str, ...]

    @property
    def is_named(self) -> bool:
        """Whether the noun says a kind of thing; "the pink one" does not."""
        return self.noun not in NAMELESS


def read_things(text: str) -> Things:
    """Read a normalised phrase (`deixis.language.text.normalise`) without its location words."""
    cues = rule_cues(MEASURE.sub("", re.sub(r"^(?:the|a|an) ", "", text)))
    if cues[0].startswith(f"{NO_NOUN} "):  # "wearing red" names no thing, and becomes an object that wears it
        cues = [NO_NOUN, *cues]
    noun = cues[0]
    said = [cue.removeprefix(f"{noun} ") for cue in cues[1:] if cue.startswith(f"{noun} ")]
    head = cues[1] if len(cues) > 1 and not cues[1].startswith(f"{noun} ") else noun
    words = head.split()
    while len(words) > 1 and words[-1] == noun and _stands_after(noun):  # "player dressed in red"
        words = words[:-1]
        noun, head = words[-1], " ".join(words)
    others = (_other(segment) for segment in said)
    return Things(noun, head, tuple(thing for thing in others if thing))


def _stands_after(word: str) -> bool:
    return word in AFTER_A_NOUN or (len(word) > 4 and word.endswith("ed"))


def _other(segment: str) -> str:
    """What a segment such as "sitting on the red sofa" is about; empty where that is no thing."""
    words = segment.split()
    is_worn = words[0] in ("in", "wearing")
    while words and (words[0] in NOT_A_THING or (len(words[0]) > 4 and words[0].endswith("ing"))):
        words = words[1:]
    if not words or (is_worn and all(word in COLOUR_OF for word in words)):  # "man in orange" holds no fruit
        return ""
    cues = rule_cues(" ".join(words))
    thing = cues[1] if len(cues) > 1 and not cues[1].startswith(f"{cues[0]} ") else cues[0]
    return "" if cues[0].split()[0] in NAMELESS else thing  # "of water" alone becomes an object of water
