"""What a phrase says about where its object is: a parser of closed-class location words.

Contrast between images and phrases cannot teach which side "left" is, because every image has a left. The words
themselves are few, so they are read by rule: sides and corners, the middle, front and back, "second from the left",
and "left of <another phrase>". Words that only look like places ("right next to", "her left arm", "a pink top") are
left alone.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

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
        (
            "first 1st", "second 2nd", "third 3rd", "fourth 4th", "fifth 5th", "sixth 6th", "seventh 7th",
            "eighth 8th", "ninth 9th", "tenth 10th",
        ),
        start=1,
    )
    for word in words.split()
}  # fmt: skip
CARDINALS = {word: rank for rank, word in enumerate("two three four five six".split(), start=2)}  # "two from left"
RELATIONS: dict[str, Direction | None] = {  # words before a landmark -> where the object lies from it; None: near
    r"(?:(?:to|on|at) (?:the )?)?(?:far )?left (?:hand )?(?:side )?of": (-1, 0),
    r"(?:(?:to|on|at) (?:the )?)?(?:far )?right (?:hand )?(?:side )?of": (1, 0),
    r"above|over|higher (?:up )?than|(?:on |at (?:the )?)?top of": (0, -1),
    r"below|beneath|under|underneath|lower (?:down )?than|(?:at (?:the )?)?bottom of": (0, 1),
    r"(?:next to|beside|near|closest to|nearest to|close to|adjacent to)": None,
}
VIEWER = r"(?:us|me|you|(?:the )?(?:camera|viewer))"
IMAGE_WORD = r"(?:the |this )?(?:picture|pic|photo|image|screen|frame|shot|scene|photograph|page)"

NEVER_LAST = frozenset("on in at to the a an that which who is of and with".split())
NEVER_FIRST = frozenset("on in at to the a an one of and is".split())

_any = "|".join
_side = _any(SIDES)
_edge = (
    rf"(?:(?:far|very|extreme|most|closest|nearest|furthest|farthest) )*(?:{_side})(?: most)?(?: hand)?"
    rf"(?: (?:{_side}))?(?: hand)?"
    r"(?: (?:side|corner|edge|up|down))?"
)
_of_image = rf"(?: (?:of|in) {IMAGE_WORD})?"
_lead = r"(?:(?:that|which|who) (?:is|are) |(?:is|are) )?"
_not = r"(?:(?P<no>not) )?"
_RELATION = re.compile(
    rf"\b{_not}{_lead}(?:{_any(f'(?P<r{i}>{words})' for i, words in enumerate(RELATIONS))}) "
    rf"(?P<mark>(?!{IMAGE_WORD}\b(?! (?:on|of)\b)).+)$"
)
_ORDINAL = re.compile(
    rf"\b{_not}(?:the )?(?:(?P<rank>{_any(ORDINALS)}) (?:(?P<noun>[a-z]+) )?(?:(?:in )?from|on|at)|"
    rf"(?P<count>{_any(CARDINALS)}) (?:in )?from) "
    rf"(?:the )?(?:far )?(?P<side>{_side}|front|back)(?: hand)?(?: side)?{_of_image}\b"
)
_SIDE = re.compile(
    rf"\b{_not}{_lead}(?:(?:over|near|close|closest|nearest|furthest|farthest) )?"
    rf"(?:(?:on|at|in|to|toward|towards|from) )?(?:the |our |my )?(?P<edge>{_edge}){_of_image}\b"
)
_group = r" of (?:the )?(?:two|three|four|five|six|row|group|bunch)"
_CENTRE = re.compile(
    rf"\b{_not}{_lead}(?:(?:in|at|on) )?(?:the )?(?:dead |very )?(?:{_any(MIDDLE)})(?:{_group}|{_of_image})\b"
    r"(?! aged)"
)
_FRONT = re.compile(
    rf"\b{_not}{_lead}(?:(?:up|over|directly) )?(?:(?:in|at|on|to) )?(?:the )?(?:{_any(FRONT)})(?: row)?"
    rf"(?: (?:of|to) (?:{VIEWER}|{IMAGE_WORD}))?\b(?! (?:of|to)\b)"
)
_BACK = re.compile(
    rf"\b{_not}{_lead}(?:(?:in|at|on) )?(?:the )?(?:far )?(?:{_any(BACK)})(?: row| away)?{_of_image}\b"
    r"(?! (?:of|to)\b)"
)
_PARTS = _any("hand arm leg foot feet eye ear shoulder wing paw knee thigh wrist elbow cheek breast hat half".split())
_AFTER_A_HAND = "of|on|in|with|at|to|and|that|is|which|up|down|raised|near|under|over|by|from|[a-z]+ing"
_no_corner = rf"(?! (?:{_side}|row|corner|shelf)\b(?! of\b))"  # "with a hat on the top left" is a place
_NOT_A_PLACE = re.compile(
    rf"\b(?:his|her|its|their|your) (?:far )?(?:left|right|back|bottom|top|front|lower|upper)\b"
    rf"|\b(?:left|right|upper|lower|back|front|top) (?!hand\b)(?:{_PARTS})\b(?! side)"
    rf"|\b(?:left|right) hand\b(?=$| (?:{_AFTER_A_HAND})\b)"  # but "left hand side", "left hand guy"
    rf"|\b(?:facing|looking|turned|turning|pointing|leaning) (?:to (?:the )?)?(?:left|right|back|front)\b"
    r"|\bturned sideways in front\b|\bback turned\b"
    r"|\b(?:tank|crop|halter|tube|table|counter|stove|bikini|pajama) top\b"
    rf"|\b(?:wearing|in) (?!the\b)[a-z]+ [a-z ]*?and (?:an? )?[a-z]+ top\b{_no_corner}"  # "in dark shorts and pink top"
    rf"|\bwith an? [a-z]+ (?:front|back|top|bottom)\b{_no_corner}"  # "an orange front"
    rf"|\bwith [a-z ]+? on (?:the back|the front|(?:the )?top)\b{_no_corner}"  # "with a spare tire on the back"
    rf"|\b(?:pile|pieces?|slices?|strips?|bits?) of [a-z ]+? on top\b{_no_corner}(?! of\b)"
    r"|\b(?:wearing [a-z ]*?|in (?:a |an |the )?(?!the\b)[a-z]+) top\b"
    rf"|\bback to (?:the )?(?:camera|us|me)\b"
)
_INTENSIFIER = re.compile(
    r"\bright (?=next|beside|behind|by|there|here|above|below|under|near|now|up|on top|in front"
    rf"|(?:in|at) the (?:{_any((*MIDDLE, *FRONT, *BACK))})\b)"
)
_NO_LANDMARK = re.compile(rf"(?:there|here|{VIEWER}|{IMAGE_WORD})")
_SCENERY = re.compile(
    r"(?:above|over|below|under|beneath) (?:the )?(?:water|sea|ocean|lake|river|sky|ground|grass|city)\b"
)
_OVER_A_PART = re.compile(r"(?:over|above|under|beneath|below) (?:his|her|its|their)\b")  # "a hat over her head"


@dataclass(frozen=True)
class LocationWords:
    """Where a phrase says that its object is, and what is left of the phrase without that.

    Attributes:
        rest: The phrase without its location words; empty when it says nothing else.
        direction: Side or corner: of the image, and with a landmark, of the things that lie so from it.
        is_middle: Near the middle of the image.
        depth: 1 in front, which means large and low; -1 at the back; 0 unsaid.
        rank: "second from the left" has rank 2 along `direction`; 0 when no rank is said.
        landmark: Another phrase; the object lies in direction `bearing` from it, or near it where that is None.
    """

    rest: str
    direction: Direction | None = None
    is_middle: bool = False
    depth: int = 0
    rank: int = 0
    landmark: str = ""
    bearing: Direction | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the phrase says nothing about a place."""
        return self.direction is None and not (self.is_middle or self.depth or self.landmark)


def parse_location_words(text: str) -> LocationWords:
    """Read the location words of a normalised phrase (`deixis.language.text.normalise`)."""
    rest = _INTENSIFIER.sub("", _NOT_A_PLACE.sub(_shield, text))
    if (match := _RELATION.search(rest)) and (mark := _landmark(match)):
        of_what = _sides(rest[: match.start()])
        if match["no"]:  # "not next to the box" leaves everywhere else
            return of_what
        bearing = next(bearing for i, bearing in enumerate(RELATIONS.values()) if match[f"r{i}"])
        return replace(of_what, landmark=mark, bearing=bearing)
    return _sides(rest)


def beside_places(texts: Iterable[str]) -> list[str]:
    """What each text says beside places; all of it where it says nothing else."""
    return [parse_location_words(text).rest or text for text in texts]


def _landmark(match: re.Match[str]) -> str:
    """What a relation relates to; empty where that is no other thing: "near the left", "closest to us"."""
    mark = _tidy(_unshield(match["mark"]))
    is_part = match[0][: match.start("mark") - match.start()].endswith(("top of ", "bottom of ")) and not match.start()
    if (
        is_part
        or _NO_LANDMARK.fullmatch(mark)
        or _OVER_A_PART.search(match[0])
        or _SCENERY.search(match[0])
        or not parse_location_words(mark).rest
    ):
        return ""
    return mark


def _sides(text: str) -> LocationWords:
    """Location words with respect to the image."""
    if match := _ORDINAL.search(text):
        rest = _tidy(f"{text[: match.start()]} {match['noun'] or ''} {text[match.end() :]}")
        if match["no"]:  # "not second from the left" leaves every other one
            return LocationWords(_unshield(rest))
        rest, rank = _unshield(rest), ORDINALS[match["rank"]] if match["rank"] else CARDINALS[match["count"]]
        if match["side"] in SIDES:
            return LocationWords(rest, direction=SIDES[match["side"]], rank=rank)
        return LocationWords(rest, depth=1 if match["side"] == "front" else -1, rank=rank)
    directions: list[Direction] = []
    for match in _SIDE.finditer(text):
        sign = -1 if match["no"] else 1  # what is not on the left is on the right
        sides = [SIDES[word] for word in match["edge"].split() if word in SIDES]
        directions += [(sign * x, sign * y) for x, y in sides]
    text = _SIDE.sub(" ", text)
    is_middle, text = any(not match["no"] for match in _CENTRE.finditer(text)), _CENTRE.sub(" ", text)
    depth = _depth(_FRONT, text) - _depth(_BACK, text)
    text = _BACK.sub(" ", _FRONT.sub(" ", text))
    return LocationWords(_unshield(_tidy(text)), direction=_sum(directions), is_middle=is_middle, depth=depth)


def _depth(pattern: re.Pattern[str], text: str) -> int:
    """1 where the phrase says so, -1 where it says not so."""
    match = pattern.search(text)
    return 0 if match is None else -1 if match["no"] else 1


def _sum(directions: list[Direction]) -> Direction | None:
    """Corner of two sides; None where nothing, or opposite things, are said."""
    x, y = (max(-1, min(1, sum(values))) for values in zip(*directions, strict=True)) if directions else (0, 0)
    return (x, y) if x or y else None


def _shield(match: re.Match[str]) -> str:
    """Words that are no place, spelt so that no later rule sees them."""
    return re.sub(r"[a-z]+", lambda word: word[0] + "_", match[0])


def _unshield(text: str) -> str:
    return text.replace("_", "")


def _tidy(text: str) -> str:
    """Single spaces; no function word left hanging at either end."""
    words = text.split()
    while words and words[-1] in NEVER_LAST:
        words.pop()
    while len(words) > 1 and words[0] in NEVER_FIRST:
        words.pop(0)
    return " ".join(words)
