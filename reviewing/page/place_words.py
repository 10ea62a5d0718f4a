"""Location words as they were read, back in words."""

from deixis.language.location_words import Direction, LocationWords

ACROSS = {-1: "left", 0: "", 1: "right"}
DOWN = {-1: "top", 0: "", 1: "bottom"}
DEPTH = {-1: "at the back", 0: "", 1: "in front"}
BESIDE = {(-1, 0): "left of", (1, 0): "right of", (0, -1): "above", (0, 1): "below"}
NTH = {1: "first", 2: "second", 3: "third"}


def in_words(read: LocationWords) -> str:
    """What a phrase says about a place, as "second from the left"; empty where it says nothing."""
    depth = DEPTH[read.depth]
    if read.rank:
        side = _side(read.direction) or {1: "front", -1: "back"}[read.depth]
        parts = [f"{NTH.get(read.rank, f'{read.rank}th')} from the {side}"]
    else:
        preposition = "at" if read.direction and read.direction[1] else "on"
        parts = [f"{preposition} the {_side(read.direction)}" if read.direction else "", depth]
    parts.append("near the middle" if read.is_middle else "")
    if read.landmark:
        parts.append(f"{BESIDE[read.bearing] if read.bearing else 'near'} “{read.landmark}”")
    return ", ".join(part for part in parts if part)


def _side(direction: Direction | None) -> str:
    return "" if direction is None else f"{DOWN[direction[1]]} {ACROSS[direction[0]]}".strip()
