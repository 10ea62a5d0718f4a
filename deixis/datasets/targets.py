"""Boxes and masks of referred objects, as sets publish them, checked and in one convention: corners, exclusive end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from deixis.core.errors import ConfigError
from deixis.datasets.quarantine import Code, shown
from deixis.datasets.segmentations import is_number, is_run_length, read_mask
from deixis.imaging.masks import RLE, area, coco_mask, tight_box

BoxConvention = Literal["xywh", "xywh_inclusive", "xyxy_inclusive"]
LOOSE = 0.9  # intersection over union of a given box and the tight box of its mask
ENOUGH = 20  # boxes below which no convention is doubted
CORNERS = {  # a, b, c, d as given -> right and bottom, exclusive; left and top are a and b in all
    "xywh": lambda a, b, c, d: (a + c, b + d),
    "xywh_inclusive": lambda a, b, c, d: (a + c + 1, b + d + 1),  # width = last pixel - first pixel
    "xyxy_inclusive": lambda a, b, c, d: (c + 1, d + 1),  # the last pixel itself
}


@dataclass(frozen=True)
class Target:
    """What can be scored: corners in stored pixels as given, mask or None where the source has none, pixels."""

    box: list[float]
    mask: RLE | None
    area: float


class Refusal(Exception):
    """Why a row is not used, by its code."""

    def __init__(self, code: Code, value: object) -> None:
        super().__init__(code, value)
        self.code: Code = code
        self.value = value


@dataclass
class ConventionCheck:
    """How often each convention makes of a given box the tight box of its run-length mask, which is exact."""

    boxes: int = 0
    agreeing: dict[str, int] = field(default_factory=dict)

    def see(self, box: Sequence[float], tight: Sequence[float]) -> None:
        """Count one annotation; only whole numbers tell."""
        if all(value.is_integer() for value in box):
            self.boxes += 1
            for name in CORNERS:
                self.agreeing[name] = self.agreeing.get(name, 0) + (tight == read_corners(box, name))

    def hold(self, chosen: BoxConvention, *, dataset: str) -> None:
        """Refuse a setting that most masks contradict while another one fits them.

        Raises:
            ConfigError: Naming the setting and the convention that fits.
        """
        if self.boxes < ENOUGH or self.agreeing[chosen] >= self.boxes / 2:
            return
        best = max(self.agreeing, key=lambda name: self.agreeing[name])
        if self.agreeing[best] >= LOOSE * self.boxes:
            raise ConfigError(
                f"datasets.{dataset}.box is {chosen!r}, but only {self.agreeing[chosen]} of {self.boxes} boxes are "
                f"then the tight boxes of their masks; as {best!r}, {self.agreeing[best]} are. "
                f"Set datasets.{dataset}.box: {best}, then run: dvc repro prepare@{dataset}"
            )


def read_corners(box: Sequence[float], convention: str) -> list[float]:
    """Corners x1, y1, x2, y2 with exclusive end of a box in a named convention."""
    a, b, c, d = box
    return [a, b, *CORNERS[convention](a, b, c, d)]


def read_target(
    annotation: Mapping[str, Any], *, width: int, height: int, convention: BoxConvention, check: ConventionCheck
) -> tuple[Target, list[tuple[Code, object]]]:
    """Box and mask of one annotation of an image of this size, and what is odd about them (codes W_).

    Raises:
        Refusal: If it cannot be scored.
    """
    name = f"annotation {annotation.get('id')}"
    try:
        given = four_numbers(annotation.get("bbox"))
    except ValueError as error:
        raise Refusal("E_BOX_BROKEN", f"{name}: {error}") from None
    box = read_corners(given, convention)
    try:
        mask, dropped = read_mask(annotation.get("segmentation"), width=width, height=height)
    except (ValueError, TypeError) as error:
        raise Refusal("E_MASK_BROKEN", f"{name}: {error}") from None
    left, top, right, bottom = box
    if not np.isfinite(box).all() or not (left < right and top < bottom):
        raise Refusal("E_BOX_DEGENERATE", f"{name}: {given}")
    clipped = [max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))]
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        raise Refusal("E_BOX_DEGENERATE", f"{name}: {given} lies outside {width} x {height}")
    odd: list[tuple[Code, object]] = []
    if clipped != box:
        odd.append(("W_BOX_OUTSIDE", f"{name}: {given}"))
    if dropped:
        odd.append(("W_MASK_PART", f"{name}: {dropped} of its parts have fewer than 6 numbers"))
    if mask is None:
        return Target(box, None, (right - left) * (bottom - top)), odd
    if not area(mask):
        raise Refusal("E_MASK_EMPTY", name)
    tight = list(tight_box(mask))
    if is_run_length(annotation["segmentation"]):
        check.see(given, tight)
    if overlap(clipped, tight) < LOOSE:
        odd.append(("W_BOX_LOOSE", f"{name}: {given}, its mask fills {tight}"))
    return Target(box, mask, float(area(mask))), odd


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes given by corners."""
    sizes = [np.array([[a, b, c - a, d - b]]) for a, b, c, d in (one, other)]
    return float(coco_mask.iou(*sizes, [0])[0, 0])


def four_numbers(box: Any) -> list[float]:
    """A foreign value as the four numbers of a box.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(value) for value in box):
        raise ValueError(f"its box is {shown(box)}, not four numbers")
    return [float(value) for value in box]
