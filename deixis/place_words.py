"""What a phrase says about where its object is: a parser of closed-class place words.

Contrast between images and phrases cannot teach which side "left" is, because every image has a left. The words
themselves are few, so they are read by rule: sides and corners, the middle, front and back, "second from the left",
and "left of <another phrase>". Words that only look like places ("right next to", "her left arm", "a pink top") are
left alone.
"""

import re
from dataclasses import dataclass

Direction = tuple[int, int]  # x to the right, y downwards: (-1, 0) is left, (1, -1) is top right

SIDES: dict[str, Direction] = {
    "left": (-1, 0), "leftmost": (-1, 0), "lefthand": (-1, 0),
    "right": (1, 0), "rightmost": (1, 0), "righthand": (1, 0),
    "top": (0, -1), "topmost": (0, -1), "upper": (0, -1), "uppermost": (0, -1), "highest": (0, -1),
    "bottom": (0, 1), "bottommost": (0, 1), "lower": (0, 1), "lowermost": (0, 1), "lowest": (0, 1),
}  # fmt: skip
MIDDLE = ("middle", "center", "centre", "central", "centermost", "middlemost")
FRONT = ("front", "foreground", "closest", "nearest", "frontmost")
BACK = ("back", "background", "rear", "furthest", "farthest")
ORDINALS = {
    word: rank
    for rank, words in enumerate(
        ("first 1st", "second 2nd", "third 3rd", "fourth 4th", "fifth 5th", "sixth 6th"), start=1
    )
    for word in words.split()
}
RELATIONS: dict[str, Direction | None] = {  # words before a landmark -> where the object lies from it; None: near
    r"(?:(?:to|on|at) (?:the )?)?(?:far )?left (?:hand )?(?:side )?of": (-1, 0),
    r"(?:(?:to|on|at) (?:the )?)?(?:far )?right (?:hand )?(?:side )?of": (1, 0),
    r"above|over|higher (?:up )?than|(?:on |at (?:the )?)?top of": (0, -1),
    r"below|beneath|under|underneath|lower (?:down )?than|(?:at (?:the )?)?bottom of": (0, 1),
    r"(?:next to|beside|near|closest to|nearest to|close to|adjacent to)": None,
}
PICTURE = r"(?:the |this )?(?:picture|pic|photo|image|screen|frame|shot|scene|photograph|page)"

_any = "|".join
_side = _any(SIDES)
_edge = (
    rf"(?:(?:far|very|extreme|most) )*(?:{_side})(?: most)?(?: hand)?(?: (?:{_side}))?(?: hand)?"
    r"(?: (?:side|corner|edge|up|down))?"
)
_of_picture = rf"(?: (?:of|in) {PICTURE})?"
_lead = r"(?:(?:that|which|who) (?:is|are) |(?:is|are) )?"
_RELATION = re.compile(rf"\b{_lead}(?:{_any(f'(?P<r{i}>{words})' for i, words in enumerate(RELATIONS))}) (?P<mark>.+)$")
_ORDINAL = re.compile(
    rf"\b(?:the )?(?P<rank>{_any(ORDINALS)}) (?:(?P<noun>[a-z]+) )?"
    rf"(?:in )?from (?:the )?(?:far )?(?P<side>{_side}|front|back)(?: side)?{_of_picture}\b"
)
_SIDE = re.compile(
    rf"\b{_lead}(?:(?:on|at|in|to|toward|towards|from) )?(?:the |our |my )?(?P<edge>{_edge}){_of_picture}\b"
)
_CENTRE = re.compile(rf"\b{_lead}(?:(?:in|at|on) )?(?:the )?(?:dead |very )?(?:{_any(MIDDLE)}){_of_picture}\b(?! aged)")
_FRONT = re.compile(
    rf"\b{_lead}(?:(?:in|at|on|to) )?(?:the )?(?:{_any(FRONT)})(?: row)?"
    rf"(?: (?:of|to) (?:us|me|you|camera|the camera|the viewer|{PICTURE}))?\b(?! (?:of|to)\b)"
)
_BACK = re.compile(
    rf"\b{_lead}(?:(?:in|at|on) )?(?:the )?(?:far )?(?:{_any(BACK)})(?: row)?{_of_picture}\b(?! (?:of|to)\b)"
)
_PARTS = _any("hand arm leg foot feet eye ear shoulder wing paw knee thigh wrist elbow cheek breast hat half".split())
_NOT_A_PLACE = re.compile(
    rf"\b(?:his|her|its|their|your) (?:far )?(?:left|right|back|bottom|top|front|lower|upper)\b"
    rf"|\b(?:left|right|upper|lower|back|front|top) (?:{_PARTS})\b(?! side)"
    rf"|\b(?:facing|looking|turned|turning|pointing|leaning) (?:to (?:the )?)?(?:left|right|back|front)\b"
    r"|\b(?:tank|crop|halter|tube|table|counter|stove|bikini|pajama) top\b"
    r"|\b(?:wearing [a-z ]*?|in (?:a |an |the )?(?!the\b)[a-z]+) top\b"
    rf"|\bback to (?:the )?(?:camera|us|me)\b"
)
_INTENSIFIER = re.compile(r"\bright (?=next|beside|behind|by|there|here|above|below|under|near|now|in front)")


@dataclass(frozen=True)
class PlaceWords:
    """Where a phrase says that its object is, and what is left of the phrase without that.

    Attributes:
        rest: The phrase without its place words; empty when it says nothing else.
        direction: Side or corner of the picture.
        is_middle: Near the middle of the picture.
        depth: 1 in front, which means large and low; -1 at the back; 0 unsaid.
        rank: "second from the left" has rank 2 along `direction`; 0 when no rank is said.
        landmark: Another phrase, with respect to which `direction` counts; near it where that is None.
    """

    rest: str
    direction: Direction | None = None
    is_middle: bool = False
    depth: int = 0
    rank: int = 0
    landmark: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether the phrase says nothing about a place."""
        return self.direction is None and not (self.is_middle or self.depth or self.landmark)


def parse_place_words(text: str) -> PlaceWords:
    """Read the place words of a normalised phrase (`deixis.text.normalise`)."""
    kept = _INTENSIFIER.sub("", _NOT_A_PLACE.sub(_shield, text))
    if found := _RELATION.search(kept):
        index = next(i for i in range(len(RELATIONS)) if found[f"r{i}"])
        mark = _unshield(found["mark"])
        rest = _tidy(kept[: found.start()])
        if rest and not re.fullmatch(PICTURE, mark):
            return PlaceWords(_unshield(rest), direction=list(RELATIONS.values())[index], landmark=_tidy(mark))
    if found := _ORDINAL.search(kept):
        rest = _tidy(f"{kept[: found.start()]} {found['noun'] or ''} {kept[found.end() :]}")
        rest, rank = _unshield(rest), ORDINALS[found["rank"]]
        if found["side"] in SIDES:
            return PlaceWords(rest, direction=SIDES[found["side"]], rank=rank)
        return PlaceWords(rest, depth=1 if found["side"] == "front" else -1, rank=rank)
    directions: list[Direction] = []
    for found in _SIDE.finditer(kept):
        directions += [SIDES[word] for word in found["edge"].split() if word in SIDES]
    kept = _SIDE.sub(" ", kept)
    is_middle, kept = bool(_CENTRE.search(kept)), _CENTRE.sub(" ", kept)
    depth = bool(_FRONT.search(kept)) - bool(_BACK.search(kept))
    kept = _BACK.sub(" ", _FRONT.sub(" ", kept))
    return PlaceWords(_unshield(_tidy(kept)), direction=_sum(directions), is_middle=is_middle, depth=depth)


def _sum(directions: list[Direction]) -> Direction | None:
    """Corner of two sides; None where nothing, or opposite things, are said."""
    x, y = (max(-1, min(1, sum(values))) for values in zip(*directions, strict=True)) if directions else (0, 0)
    return (x, y) if x or y else None


def _shield(found: re.Match[str]) -> str:
    """Words that are no place, spelt so that no later rule sees them."""
    return re.sub(r"[a-z]+", lambda word: word[0] + "_", found[0])


def _unshield(text: str) -> str:
    return text.replace("_", "")


def _tidy(text: str) -> str:
    """Single spaces; no function word left hanging at either end."""
    words = text.split()
    while words and words[-1] in {
        "on",
        "in",
        "at",
        "to",
        "the",
        "a",
        "an",
        "that",
        "which",
        "who",
        "is",
        "of",
        "and",
        "with",
    }:
        words.pop()
    while words and words[0] in {"on", "in", "at", "to", "the", "a", "an", "one", "of", "and", "is"} and len(words) > 1:
        words.pop(0)
    return " ".join(words)
