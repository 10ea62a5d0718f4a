"""One person's decision about one label."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Box = tuple[float, float, float, float]
Verdict = Literal["accept", "reject", "runner_up", "box"]
VERDICTS: tuple[str, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Decision:
    """One decision.

    Boxes are xyxy in pixels of the stored image, exclusive right and bottom.

    Attributes:
        verdict: `accept`: the label's box is right; `runner_up`: the teacher's second choice is; `box`: this one is,
            drawn or moved by a person; `reject`: the phrase names nothing here, or nobody can say what.
        box: The right box; None where the label was rejected.
        label_box: What the label said when it was decided; None if it had no box.
        checkpoint_sha256: The teacher's weights that had given `label_box`.
        who: Whoever decided, as they call themselves.
        when: UTC, as 2026-11-30T11:22:05.123456+00:00.
        source: Where it was decided: `serve`, or the tool that the decision was read from.
    """

    sample_id: str
    image_id: int
    expression: str
    verdict: Verdict
    box: Box | None
    label_box: Box | None
    teacher: str
    checkpoint_sha256: str
    who: str
    when: str
    source: str


def sound_box(sides: Iterable[float | None] | None) -> Box | None:
    """Four sides of a table as a box; None where there are none, or they enclose nothing."""
    numbers = [math.nan if side is None else float(side) for side in (() if sides is None else sides)]
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        return None
    left, top, right, bottom = numbers
    return (left, top, right, bottom) if left < right and top < bottom else None
