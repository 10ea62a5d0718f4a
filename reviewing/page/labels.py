"""Labels in memory: columns as they lie in the file, turned into Python one row at a time."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from deixis.core.columns import check_columns
from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.exports.rows import AGAIN, OPTIONAL, open_labels
from deixis.imaging.masks import RLE
from reviewing.decisions import Box, sound_box

SHOWN = (
    "sample_id", "image_id", "expression", "split", "box", "score", "accept", "reason", "mask", "teacher",
    "checkpoint_sha256",
)  # fmt: skip
ALSO = (*OPTIONAL, "runner_up", "confidence", "agreement")  # where the teacher or a rating gives them
NUMBERS = ("score", "margin", "confidence", "agreement")


@dataclass(frozen=True)
class Label:
    """One label. Boxes are xyxy in pixels of the stored image, as the teacher gave them: they may reach past it.

    Attributes:
        row: Its place in the file, from 0.
        image: The place of its image in images.parquet, from 0.
        numbers: Those of score, margin, confidence and agreement that are known.
    """

    row: int
    sample_id: str
    image: int
    image_id: int
    expression: str
    split: str
    box: Box | None
    runner_up: Box | None
    mask: RLE | None
    accept: bool
    reason: str
    teacher: str
    checkpoint_sha256: str
    numbers: dict[str, float]


class Labels:
    """The labels of a table.

    Args:
        path: labels.parquet.
        image_ids: Of images.parquet, in its order, each once.

    Raises:
        DataError: If the table is missing, damaged or another one, names a phrase twice, or an image that is not there.
    """

    def __init__(self, path: Path, image_ids: pd.Index) -> None:
        self._table = _read(path)
        self.columns = frozenset(self._table.column_names)
        names = self._table["sample_id"].cast(pa.string()).to_pandas()
        self.sample_ids = pd.Index(names)
        if not self.sample_ids.is_unique:
            twice = self.sample_ids[self.sample_ids.duplicated()][0]
            raise DataError(f"{path}: {twice} stands there twice. Allowed: one label a phrase. {AGAIN}")
        ids = self._table["image_id"].to_pandas()
        if len(ids) and not pd.api.types.is_integer_dtype(ids):
            raise DataError(
                f"{path}: image {ids.iloc[0]!r} has no whole number, by which decisions name images. Prepare the "
                "pairs with: deixis label --pairs TABLE, or dvc repro prepare"
            )
        self.images = image_ids.get_indexer(pd.Index(ids))
        if (self.images < 0).any():
            missing = ids.iloc[int((self.images < 0).argmax())]
            raise DataError(f"{path}: image {missing} is not in the table of images. Name the right one: --images")

    def __len__(self) -> int:
        """Number of labels."""
        return self._table.num_rows

    def row_of(self, sample_id: str) -> int | None:
        """Where a phrase is; None if it is not there."""
        row = self.sample_ids.get_indexer(pd.Index([sample_id]))[0]
        return None if row < 0 else int(row)

    def numbers(self, name: str) -> np.ndarray:
        """A column of numbers: float64 [labels], NaN where nothing is known."""
        return self._table[name].cast(pa.float64()).to_numpy(zero_copy_only=False)

    def boxes(self) -> np.ndarray:
        """The labels' boxes: float64 [labels, 4], NaN where there is none."""
        nowhere = [math.nan] * 4
        return np.array([sound_box(sides) or nowhere for sides in self._table["box"].to_pylist()], float).reshape(-1, 4)

    def texts(self, name: str) -> pd.Series:
        """A column of texts, empty where there is none."""
        return self._table[name].to_pandas().astype(str)

    def accepted(self) -> np.ndarray:
        """Whether the teacher's label was accepted: bool [labels]."""
        return self._table["accept"].to_numpy(zero_copy_only=False).astype(bool)

    def phrases(self) -> Any:
        """The phrases as an Arrow column, to search."""
        return self._table["expression"]

    def __getitem__(self, row: int) -> Label:
        """The label of a row."""
        (values,) = self._table.slice(row, 1).to_pylist()
        numbers = {name: values.get(name) for name in NUMBERS}
        return Label(
            row=row,
            sample_id=self.sample_ids[row],
            image=int(self.images[row]),
            image_id=int(values["image_id"]),
            expression=values["expression"],
            split=values["split"],
            box=sound_box(values["box"]),
            runner_up=sound_box(values.get("runner_up")),
            mask=values["mask"],
            accept=values["accept"],
            reason=values["reason"],
            teacher=values["teacher"],
            checkpoint_sha256=values["checkpoint_sha256"],
            numbers={name: float(x) for name, x in numbers.items() if x is not None and math.isfinite(x)},
        )


def _read(path: Path) -> pa.Table:
    with open_labels(path) as file:
        names = [*SHOWN, *(name for name in ALSO if name in file.schema_arrow.names)]
        check_columns(file.schema_arrow, names, path=path, remedy=AGAIN)
        with foreign_bytes(path, "a whole Parquet file", AGAIN):
            table = file.read(columns=names).combine_chunks()
            table.validate(full=True)
    for name in SHOWN:
        if name not in ("box", "score", "mask") and table[name].null_count:
            raise DataError(f"{path}: row {table[name].is_null().to_pylist().index(True)} has no {name}. {AGAIN}")
    return table
