"""What a file says of labels, whichever tool wrote it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from reviewing.decisions import Box


@dataclass(frozen=True)
class Shape:
    """One label as a file has it.

    Attributes:
        box: xyxy; None where the file holds the label without one: its mask alone, or a mark that it is refused.
        refused: Marked so in the file.
        sample_ids, phrases: As far as they survived.
        who, when: Where the file says so of this very label; `when` in UTC.
        model: The teacher and its checkpoint's first digits, as `deixis export` wrote them.
    """

    box: Box | None
    sample_ids: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    refused: bool = False
    who: str | None = None
    when: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class ReturnedImage:
    """One image of a file that people have corrected.

    Attributes:
        name: As the tool names it, with slashes.
        has_ending: Whether `name` ends as the image's file does; label files of YOLO have names of their own.
        size_wh: Pixels, where the file says them.
        in_shares: Boxes are shares of the image's sides, and not pixels.
        sent: The labels that went out with it, where the file says so: sample_id -> phrase, empty if that is unknown.
        who, when: Of all labels that say nothing else.
        submitted: Whether somebody has handed in just this image, so that boxes that stayed were looked at, too.
    """

    name: str
    shapes: tuple[Shape, ...]
    has_ending: bool = True
    size_wh: tuple[int, int] | None = None
    in_shares: bool = False
    sent: Mapping[str, str] | None = None
    who: str | None = None
    when: str | None = None
    submitted: bool = False


@dataclass(frozen=True)
class Note:
    """Something in a file that became no decision, and why."""

    image: str
    label: str  # sample_id or phrase; empty where neither is known
    what: str


@dataclass(frozen=True)
class ReturnedFile:
    """All that a file says.

    Attributes:
        models: Teachers that it names beside its labels, as `Shape.model`.
    """

    images: tuple[ReturnedImage, ...]
    notes: tuple[Note, ...] = ()
    who: str | None = None
    when: str | None = None
    models: frozenset[str] = frozenset()

    def all_models(self) -> set[str]:
        """Every teacher that it names."""
        return {*self.models, *(shape.model for image in self.images for shape in image.shapes if shape.model)}


class Reader(Protocol):
    """Reads one format; whatever it raises is told as a file that is not of that format."""

    def __call__(self, path: Path) -> ReturnedFile: ...


def texts(value: Any) -> tuple[str, ...]:
    """One text or a list of them; numbers are ids that a tool took for numbers."""
    if value is None:
        return ()
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(str(one) for one in values if one not in (None, ""))


def storable(text: str) -> str:
    """Text as UTF-8 and a terminal can hold it: JSON may spell halves of characters, and what moves the cursor."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character.isprintable() else " " for character in whole).strip()


def from_lines(sample_id: Any, expression: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Attributes that are single texts -> sample_ids and phrases: a line each, where a label stands for an object."""
    ids = tuple(line for line in str(sample_id or "").split("\n") if line)
    phrase = str(expression or "").strip()
    return ids, tuple(line for line in (phrase.split("\n") if len(ids) > 1 else [phrase]) if line)


def four(values: Iterable[Any]) -> Box:
    """Four finite numbers.

    Raises:
        ValueError: If they are not.
    """
    left, top, right, bottom = map(float, values)
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError(f"the box {left}, {top}, {right}, {bottom} is not of numbers")
    return left, top, right, bottom


def from_corner(left: Any, top: Any, width: Any, height: Any) -> Box:
    """A corner and two sides -> xyxy."""
    x, y, wide, high = four((left, top, width, height))
    return x, y, x + wide, y + high


def utc(text: Any) -> str | None:
    """A time as a decision has it; None where the text is none. Times without a zone are UTC's."""
    try:
        when = datetime.fromisoformat(str(text).strip())
        when.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return when.isoformat(timespec="microseconds")
