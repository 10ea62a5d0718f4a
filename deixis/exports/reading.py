"""Labels and their images, image by image; the table of images is held whole, the labels are not."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from deixis.core.columns import check_gaps
from deixis.core.errors import DataError
from deixis.core.long_tables import check_schema, whole_file
from deixis.core.records import read_table
from deixis.core.row_groups import open_in_groups, read_columns
from deixis.exports.image_names import name_images
from deixis.exports.rows import MADE_BY, LabelRows
from deixis.exports.types import ExportedImage, Label, LabelledImage
from deixis.imaging.masks import RLE, area, run_lengths

# Texts stay in Arrow's memory, which takes a third of Python's
ARROW_TEXTS = {kind: pd.StringDtype("pyarrow") for kind in (pa.string(), pa.large_string())}
IMAGE_COLUMNS = ("image_id", "path", "width", "height")


@dataclass
class Tally:
    """How many labels were written, and why others were not."""

    written: int = 0
    not_accepted: int = 0
    below_score: int = 0
    without_box: int = 0  # no box, or nothing of it inside the image

    def __str__(self) -> str:
        """In words, for the last line of a command."""
        left_out = {
            "not accepted": self.not_accepted,
            "below --min-score": self.below_score,
            "without a box inside the image": self.without_box,
        }
        reasons = ", ".join(f"{count} {why}" for why, count in left_out.items() if count)
        return f"{self.written} labels written" + (f"; left out: {reasons}" if reasons else "")


class LabelReader:
    """The labels of a table with their images; `tally` is complete once `images` has been read to its end.

    `names_root` is the folder that names of images start from; None where that is whichever folder the user keeps.

    Args:
        labels: labels.parquet.
        images: images.parquet of the same images.
        image_root: Folder that its paths start from; looked for in the usual places where it matters.
        pairs: pairs.parquet with `ref_id`, to bring the phrases of one object together; None for one label per phrase.
        everything: Labels that were not accepted, too.
    """

    def __init__(
        self,
        labels: Path,
        images: Path,
        *,
        image_root: Path | None = None,
        pairs: Path | None = None,
        everything: bool = False,
        min_score: float | None = None,
    ) -> None:
        self._labels, self._images = labels, images
        self._everything, self._min_score = everything, min_score
        self._image_table = read_images(images)
        index = pd.Index(self._image_table["image_id"])
        self._name_of = name_images(self._image_table["path"], images=images, root=image_root)
        self.names_root = self._name_of.top
        self._groups = None if pairs is None else _groups(pairs)
        self._rows = LabelRows(labels, index, images=images)
        self.tally = Tally()

    @property
    def image_count(self) -> int:
        """Number of images that the table names, whether any of their labels will be written or not."""
        return self._rows.image_count

    def images(self) -> Iterator[LabelledImage]:
        """Every image that has a label to write, with its labels; images come once each."""
        for place, rows in groupby(self._rows.by_image(), key=lambda row: row["place"]):
            image = self._image(place)
            labels = [label for row in rows if (label := self._label(row, image)) is not None]
            if self._groups is not None:
                labels = per_object(labels)
            if labels:
                self.tally.written += len(labels)
                yield LabelledImage(image, tuple(labels))

    def _image(self, place: int) -> ExportedImage:
        row = self._image_table.iloc[place]
        image_id = row["image_id"]
        return ExportedImage(
            image_id=image_id.item() if isinstance(image_id, np.generic) else image_id,
            path=self._name_of(row["path"]),
            width=int(row["width"]),
            height=int(row["height"]),
            number=place,
            sha256=_or_none(row.get("sha256")),
            licence=_or_none(row.get("licence")),
        )

    def _label(self, row: dict[str, Any], image: ExportedImage) -> Label | None:
        """The label of a row; None where it is not to be written, which is counted."""
        if not (row["accept"] or self._everything):
            self.tally.not_accepted += 1
            return None
        sample_id, given = str(row["sample_id"]), row["box"]
        if given is not None and len(given) != 4:
            raise DataError(
                f"{self._labels}: the box of {sample_id} has {len(given)} sides; allowed: 4. "
                f"Run: dvc repro -f {MADE_BY}"
            )
        box = part_inside(given, width=image.width, height=image.height)
        if given is None or box is None:
            self.tally.without_box += 1
            return None
        if row["score"] is None or not math.isfinite(row["score"]):
            raise DataError(
                f"{self._labels}: the score of {sample_id} is {row['score']}; allowed: any finite number. "
                f"Run: dvc repro -f {MADE_BY}"
            )
        if self._min_score is not None and row["score"] < self._min_score:
            self.tally.below_score += 1
            return None
        return Label(
            expressions=(row["expression"],),
            sample_ids=(sample_id,),
            box_xyxy=box,
            raw_box_xyxy=tuple(given),
            mask=self._mask(row["mask"], image, sample_id),
            score=row["score"],
            margin=row.get("margin"),
            accept=row["accept"],
            reason=row["reason"],
            split=row["split"],
            teacher=row["teacher"],
            checkpoint_sha256=row["checkpoint_sha256"],
            config_sha256=row["config_sha256"],
            mask_source=row.get("mask_source"),
            human=row.get("human"),
            group_id=None if self._groups is None else self._groups.get(sample_id),
        )

    def _mask(self, mask: RLE | None, image: ExportedImage, sample_id: str) -> RLE | None:
        if mask is None:
            return None
        size, stated = [image.height, image.width], list(mask["size"] or [])
        if len(stated) == 2 and stated != size:
            height, width = stated
            raise DataError(
                f"{self._labels}: the mask of {sample_id} has {width} x {height} pixels and its image "
                f"{image.width} x {image.height} ({self._images}). Run: dvc repro -f {MADE_BY}"
            )
        if not _is_code(mask, size):
            raise DataError(
                f"{self._labels}: the mask of {sample_id} is no run-length code of {image.width} x {image.height} "
                f"pixels. Run: dvc repro -f {MADE_BY}"
            )
        return mask if area(mask) else None


def per_object(labels: list[Label]) -> list[Label]:
    """One label per object, with the texts of all its phrases; ungrouped ones stay as they are.

    It is the best-scored of those that were accepted, else the best-scored of all: as it goes out, so it comes back.
    The phrases of one object were labelled one by one, so their boxes differ.
    """
    groups: dict[str, list[Label]] = {}
    for label in labels:
        groups.setdefault(label.group_id or f"alone {label.sample_ids[0]}", []).append(label)
    return [
        replace(
            max(members, key=lambda label: (label.accept, label.score)),
            expressions=tuple(text for label in members for text in label.expressions),
            sample_ids=tuple(sample_id for label in members for sample_id in label.sample_ids),
        )
        for members in groups.values()
    ]


def read_images(images: Path) -> pd.DataFrame:
    """The table of images, each once."""
    if not images.is_file():
        found = "a folder" if images.is_dir() else "missing"
        raise DataError(
            f"{images}: {found}. Allowed: the images.parquet of the labels' images: prepared/images.parquet of a "
            "folder that `deixis label` wrote, or data/prepared/<dataset>/images.parquet (dvc repro prepare). "
            "Name it with --images"
        )
    with whole_file(images, "prepare"), open_in_groups(images) as file:
        wanted = [*IMAGE_COLUMNS, *(name for name in ("sha256", "licence") if name in file.schema_arrow.names)]
        check_schema(file.schema_arrow, wanted, path=images, made_by="prepare")
        table = read_columns(file, wanted).to_pandas(types_mapper=ARROW_TEXTS.get)
    check_gaps(table, path=images, remedy="Run: dvc repro -f prepare")
    index = pd.Index(table["image_id"])
    if not index.is_unique:
        twice = index[index.duplicated()][0]
        raise DataError(f"{images}: image {twice} stands there twice. Run: dvc repro -f prepare")
    empty = ((table["width"] < 1) | (table["height"] < 1)).to_numpy()
    if empty.any():
        row = int(empty.argmax())
        size = f"{table['width'].iloc[row]} x {table['height'].iloc[row]}"
        raise DataError(f"{images}: row {row} is {size} pixels; allowed: at least one. Run: dvc repro -f prepare")
    return table


def _is_code(mask: RLE, size: list[int]) -> bool:
    """Whether a mask's lengths add up to its image; the library that decodes it does not ask."""
    try:
        lengths = run_lengths(mask["counts"])
        return mask["size"] == size and min(lengths) >= 0 and sum(lengths) == math.prod(size)
    except (TypeError, ValueError):
        return False


def _or_none(value: Any) -> str | None:
    """A text that may be missing, which a table of pandas says with NaN."""
    return value if isinstance(value, str) else None


def _groups(pairs: Path) -> dict[str, str]:
    """The object of each phrase that has one."""
    table = read_table(pairs, columns=("sample_id", "ref_id"), made_by="prepare").dropna()
    return dict(zip(table["sample_id"].astype(str), table["ref_id"].map(_plain_id), strict=True))


def _plain_id(ref_id: Any) -> str:
    """A nullable column of integers arrives as floats: 17.0 is 17."""
    return str(int(ref_id)) if isinstance(ref_id, float) and ref_id.is_integer() else str(ref_id)


def part_inside(
    box: Sequence[float | None] | None, *, width: int, height: int
) -> tuple[float, float, float, float] | None:
    """The part of a box inside its image; None where there is none."""
    if box is None:
        return None
    sides = [math.nan if side is None else side for side in box]  # pandas writes NaN as null
    if not all(map(math.isfinite, sides)):
        return None
    left, top = max(sides[0], 0.0), max(sides[1], 0.0)
    right, bottom = min(sides[2], float(width)), min(sides[3], float(height))
    return (left, top, right, bottom) if left < right and top < bottom else None
