"""What every writer of a target gets: images, one after another, each with its labels."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from deixis.imaging.masks import RLE, decode_mask

CATEGORY = "object"  # phrases name things of every kind, so the targets that want a class get this one


@dataclass(frozen=True)
class ExportedImage:
    """One stored image.

    Attributes:
        path: Relative to one folder for all images, with forward slashes; never leaves it.
        number: Its place in images.parquet, from 0.
    """

    image_id: int | str
    path: str
    width: int
    height: int
    number: int
    sha256: str | None = None
    licence: str | None = None


@dataclass(frozen=True)
class Label:
    """One box, the phrases that led to it, and where it comes from.

    Attributes:
        expressions: One phrase; several where phrases of one object were brought together.
        sample_ids: One per phrase.
        box_xyxy: Pixels of the stored image, exclusive right and bottom, inside the image.
        raw_box_xyxy: The same as the teacher gave it, which may reach past the image.
        mask: Never empty; None where the label has none.
        score: On the teacher's own scale; higher is better.
        group_id: Number of the object, where the grouping is known.
        human: What a person decided about it; empty where nobody has, None where nobody was asked.
    """

    expressions: tuple[str, ...]
    sample_ids: tuple[str, ...]
    box_xyxy: tuple[float, float, float, float]
    raw_box_xyxy: tuple[float, float, float, float]
    mask: RLE | None
    score: float
    margin: float | None
    accept: bool
    reason: str
    split: str
    teacher: str
    checkpoint_sha256: str
    config_sha256: str
    mask_source: str | None = None
    group_id: str | None = None
    human: str | None = None

    @property
    def model_version(self) -> str:
        """The teacher and the first eight digits of its checkpoint's hash."""
        return f"{self.teacher}-{self.checkpoint_sha256[:8]}"


@dataclass(frozen=True)
class LabelledImage:
    """One image and its labels, in the order of the file."""

    image: ExportedImage
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class Options:
    """What only some targets read.

    Attributes:
        image_root: The folder that `path` starts from; None where the user did not say where images lie.
        per_object: Labels stand for objects and not for phrases.
    """

    image_root: Path | None
    per_object: bool


class Writer(Protocol):
    """Writes one target into an empty folder; reads the images once."""

    def __call__(self, images: Iterable[LabelledImage], folder: Path, options: Options) -> None: ...


def mask_pixels(label: Label) -> np.ndarray | None:
    """Bool [height, width], or None."""
    return None if label.mask is None else decode_mask(label.mask)


def mask_extent(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, and exclusive right and bottom of what is drawn; something must be."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
