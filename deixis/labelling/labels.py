"""Labels one by one from labels.parquet, however long it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from deixis.core.columns import check_columns
from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.core.row_groups import batches_of, open_in_groups
from deixis.imaging.masks import RLE, decode_mask

COLUMNS = ("sample_id", "image_id", "expression", "split", "box", "mask", "score", "margin", "accept", "reason")
ROWS_PER_READ = 256


@dataclass(frozen=True)
class Label:
    """A teacher's answer to one pair, in pixels of the stored image.

    Attributes:
        box: Corners x, y, x, y; right and bottom are exclusive. Not cut to the image. None where nothing was found.
        rle: Mask as a COCO run-length code; None where there is none.
        margin: Lead of the score over the second-best answer.
        reason: Why it is not accepted; empty where it is.
    """

    sample_id: str
    image_id: Any
    expression: str
    split: str
    box: tuple[float, ...] | None
    rle: RLE | None
    score: float
    margin: float
    accept: bool
    reason: str

    @property
    def mask(self) -> np.ndarray | None:
        """Bool [height, width]."""
        return None if self.rle is None else decode_mask(self.rle)


def iterate_labels(path: Path | str, *, accepted_only: bool = True) -> Iterator[Label]:
    """Labels in the order of the file, read some at a time.

    Raises:
        DataError: If the file is missing or damaged, or is no labels.parquet.
    """
    again = "Write it again: dvc repro -f segment_boxes"
    made_by = "It is written by: dvc repro segment_boxes, or deixis label"
    with foreign_bytes(path, "a whole Parquet file", again, missing=made_by):
        stored = open_in_groups(Path(path))
    missing = [name for name in COLUMNS if name not in stored.schema_arrow.names]
    if missing:
        present = ", ".join(stored.schema_arrow.names)
        raise DataError(
            f"{path}: no labels.parquet: lacks {', '.join(missing)}; has {present}. Run: dvc repro segment_boxes"
        )
    check_columns(stored.schema_arrow, COLUMNS, path=Path(path), remedy=again)
    for rows in _rows(stored, path, again):
        for row in rows:
            if row["accept"] or not accepted_only:
                box, rle = row.pop("box"), row.pop("mask")
                yield Label(**row, box=None if box is None else tuple(box), rle=rle)


def _rows(stored: pq.ParquetFile, path: Path | str, again: str) -> Iterator[list[dict[str, Any]]]:
    with foreign_bytes(path, "a whole Parquet file", again):
        for batch in batches_of(stored, ROWS_PER_READ, COLUMNS):
            yield batch.to_pylist()
