"""When two boxes are one."""

from reviewing.decisions import Box

SAME = 0.05  # pixels that a side may differ by: formats round, CVAT and COCO to a hundredth


def same_box(one: Box | None, other: Box | None) -> bool:
    """Whether two boxes are one but for rounding; nothing is like no box."""
    return one is not None and other is not None and max(abs(a - b) for a, b in zip(one, other, strict=True)) <= SAME
