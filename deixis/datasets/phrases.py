"""Phrases of the embedded scenes: each one refers to exactly one object of its scene.

Three habits, after the three RefCOCO collections: `location` (RefCOCO: mostly where it is), `appearance`
(RefCOCO+: never where it is) and `relation` (RefCOCOg: longer, with respect to another object).
Every writer returns None when it cannot single the object out, and the caller tries another.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from deixis.datasets.scenes import SceneObject

Habit = Literal["location", "appearance", "relation"]
Writer = Callable[[np.random.Generator, Sequence[SceneObject], int], str | None]

MARGIN = 12.0  # pixels by which "left" must beat the next candidate, so that no phrase hangs on a hair
ADJECTIVES = {
    "plain": ("plain",),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted"),
    "small": ("small", "little"),
    "big": ("big", "large"),
}
SIDES = {  # direction to look along -> words before the noun, words after it
    (-1, 0): (("left", "leftmost"), ("on the left", "at the far left")),
    (1, 0): (("right", "rightmost"), ("on the right", "at the far right")),
    (0, -1): (("top", "upper"), ("at the top", "highest up")),
    (0, 1): (("bottom", "lower"), ("at the bottom", "lowest down")),
}
RELATIONS = {
    (-1, 0): ("to the left of", "left of"),
    (1, 0): ("to the right of", "right of"),
    (0, -1): ("above", "higher than"),
    (0, 1): ("below", "underneath"),
}


def write_phrase(rng: np.random.Generator, objects: Sequence[SceneObject], target: int, habit: Habit) -> str | None:
    """Write one phrase for `objects[target]`, or None when nothing said in this habit singles it out."""
    writers: dict[Habit, tuple[tuple[Writer, float], ...]] = {
        "location": ((_by_side, 0.75), (_by_look, 0.25)),
        "appearance": ((_by_look, 1.0),),
        "relation": ((_by_relation, 0.8), (_by_look, 0.2)),
    }
    choices, weights = zip(*writers[habit], strict=True)
    first = int(rng.choice(len(choices), p=weights))
    for writer in (choices[first], *choices):
        phrase = writer(rng, objects, target)
        if phrase is not None:
            return phrase
    return None


def caption(rng: np.random.Generator, objects: Sequence[SceneObject]) -> str:
    """Describe a whole scene the way web captions do: some of its objects, in no order, no places."""
    chosen = rng.permutation(len(objects))[: int(rng.integers(3, 6))]
    parts = [f"a {_noun_phrase(rng, objects[index], _all_but_nothing(rng, objects[index]))}" for index in chosen]
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def _all_but_nothing(rng: np.random.Generator, thing: SceneObject) -> tuple[str, ...]:
    traits = ["colour"]
    traits += ["texture"] if thing.texture != "plain" else []
    traits += ["size"] if rng.random() < 0.5 else []
    return tuple(traits)


def _by_look(rng: np.random.Generator, objects: Sequence[SceneObject], target: int) -> str | None:
    """The fewest traits that single the object out among its category; colour first, most of the time."""
    thing = objects[target]
    rivals = [other for index, other in enumerate(objects) if index != target and other.category == thing.category]
    if not rivals:
        return _noun_phrase(rng, thing, ("colour",) if rng.random() < 0.7 else ())
    order = ["texture", "size"]
    rng.shuffle(order)
    order.insert(0 if rng.random() < 0.85 else 1, "colour")
    for count in (1, 2, 3):
        traits = tuple(order[:count])
        if not any(all(getattr(thing, trait) == getattr(rival, trait) for trait in traits) for rival in rivals):
            return _noun_phrase(rng, thing, traits)
    return None


def _by_side(rng: np.random.Generator, objects: Sequence[SceneObject], target: int) -> str | None:
    """The side on which the object lies, among the objects of its category."""
    thing = objects[target]
    rivals = [other for index, other in enumerate(objects) if index != target and other.category == thing.category]
    if not rivals:
        return None
    fitting = [side for side in SIDES if all(_along(side, thing) - _along(side, rival) > MARGIN for rival in rivals)]
    if not fitting:
        return None
    before, after = SIDES[fitting[rng.integers(len(fitting))]]
    if rng.random() < 0.5:
        return f"{rng.choice(before)} {thing.category}"
    return f"{thing.category} {rng.choice(after)}"


def _by_relation(rng: np.random.Generator, objects: Sequence[SceneObject], target: int) -> str | None:
    """Where the object lies with respect to another one that its look singles out."""
    thing = objects[target]
    rivals = [other for index, other in enumerate(objects) if index != target and other.category == thing.category]
    for landmark in rng.permutation(len(objects)):
        anchor = objects[landmark]
        if landmark == target or anchor.category == thing.category:
            continue
        for side in (list(RELATIONS)[index] for index in rng.permutation(len(RELATIONS))):
            on_side = [_along(side, other) - _along(side, anchor) for other in (thing, *rivals)]
            if on_side[0] > MARGIN and all(gap < -MARGIN / 2 for gap in on_side[1:]):
                named = _by_look(rng, objects, int(landmark))
                if named is not None:
                    which = "that is " if rng.random() < 0.5 else ""
                    subject = _noun_phrase(rng, thing, ("colour",) if rng.random() < 0.4 else ())
                    return f"the {subject} {which}{rng.choice(RELATIONS[side])} the {named}"
    return None


def _along(side: tuple[int, int], thing: SceneObject) -> float:
    return side[0] * thing.centre_xy[0] + side[1] * thing.centre_xy[1]


def _noun_phrase(rng: np.random.Generator, thing: SceneObject, traits: Sequence[str]) -> str:
    words = {
        "size": str(rng.choice(ADJECTIVES[thing.size])),
        "texture": str(rng.choice(ADJECTIVES[thing.texture])),
        "colour": thing.colour,
    }
    adjectives = [words[trait] for trait in ("size", "texture", "colour") if trait in traits]
    if adjectives and rng.random() < 0.15:
        return f"{thing.category} that is {' and '.join(adjectives)}"
    return " ".join([*adjectives, thing.category])
